"""The verbs of the twin: move time, take requests, store what changed, tell who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Protocol

from src.services.twin.domain.clock import ClockSetting, MarketClock
from src.services.twin.domain.company import ActionTerms, Activity, CorporateAction
from src.services.twin.domain.errors import ClockRefused
from src.services.twin.domain.moments import iso_utc
from src.services.twin.domain.orders import NewOrder, Order
from src.services.twin.domain.venue import Changes, Event, Venue


class Memory(Protocol):
    """Where the venue's changes are kept."""

    def save(self, changes: Changes, now: int) -> None:
        """Write one step."""

    def note(self, **values: str) -> None:
        """Remember named texts."""

    def clear(self) -> None:
        """Forget orders, fills, closes and corporate actions."""


class Twin:
    """One account at one venue, at one time, remembered."""

    def __init__(self, venue: Venue, clock: MarketClock, memory: Memory) -> None:
        self.venue = venue
        self.clock = clock
        self._memory = memory
        self._listeners: list[Callable[[list[Event]], None]] = []

    def listen(self, listener: Callable[[list[Event]], None]) -> None:
        """Have `listener` called with trade updates, after they are stored."""
        self._listeners.append(listener)

    def catch_up(self) -> Venue:
        """Bring the venue to the clock's time and return it."""
        now = self.clock.now()
        if now > self.venue.now:
            with self._step():
                self.venue.advance(now)
        return self.venue

    def submit(self, request: NewOrder) -> Order:
        """Accept an order; it is stored before this returns."""
        self.catch_up()
        with self._step():
            return self.venue.submit(request)

    def replace(self, order_id: str, request: NewOrder) -> Order:
        """Replace a working order."""
        self.catch_up()
        with self._step():
            return self.venue.replace(order_id, request)

    def cancel(self, order_id: str) -> Order:
        """Cancel an order."""
        self.catch_up()
        with self._step():
            return self.venue.cancel(order_id)

    def schedule(self, terms: ActionTerms, announced_at: int | None = None) -> CorporateAction:
        """Have a corporate action happen at the open of its day. Raises ActionRefused."""
        self.catch_up()
        with self._step():
            return self.venue.schedule(terms, announced_at)

    def move_cash(self, amount: Decimal) -> Activity:
        """Pay money in or out. Raises ActionRefused."""
        self.catch_up()
        with self._step():
            return self.venue.move_cash(amount)

    def steer_clock(self, moment: int | None, rate: float, *, reset: bool = False) -> None:
        """Set the clock to `moment` (None: stay where it is) and let it run at `rate`.

        Raises:
            ClockRefused: the moment is in the venue's past and `reset` is off, or outside its calendar.
        """
        target = self.clock.now() if moment is None else moment
        self._check_target(target, reset=reset)
        if reset:
            self.reset(target)
        self.clock.steer(ClockSetting(target, rate))
        self._note_clock()
        self.catch_up()

    def follow_wall(self) -> None:
        """Let market time be wall time from now on."""
        setting = ClockSetting(None)
        self._check_target(MarketClock(self.clock.wall, setting).now(), reset=False)
        self.clock.steer(setting)
        self._note_clock()
        self.catch_up()

    def reset(self, now: int | None = None) -> None:
        """Forget orders, fills, positions, cash and corporate actions."""
        self._memory.clear()
        self.venue.reset(self.clock.now() if now is None else now)
        self._memory.note(now=str(self.venue.now))

    def _check_target(self, target: int, *, reset: bool) -> None:
        if not self.venue.sessions.covers(target):
            raise ClockRefused(f"{iso_utc(target)} is outside the twin's calendar")
        if target < self.venue.now and not reset:
            raise ClockRefused(
                f"the clock stands at {iso_utc(self.venue.now)} and does not go back to {iso_utc(target)}: "
                'send {"reset": true} to start over there'
            )

    def _note_clock(self) -> None:
        setting = self.clock.setting
        self._memory.note(mode=setting.mode, rate=str(setting.rate), now=str(self.clock.now()))

    @contextmanager
    def _step(self) -> Iterator[None]:
        # A refusal changes nothing, but what fell due before it must not be lost: always store what there is.
        try:
            yield
        finally:
            changes = self.venue.drain()
            if changes:
                self._memory.save(changes, self.venue.now)
            for listener in self._listeners:
                listener(changes.events)
