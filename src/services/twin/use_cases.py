"""The verbs of the twin: move time, take requests, store what changed, tell who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Protocol

from src.services.twin.domain.announcements import Announcement
from src.services.twin.domain.book import Position
from src.services.twin.domain.clock import ClockSetting, MarketClock
from src.services.twin.domain.company import ActionTerms, Activity, CorporateAction
from src.services.twin.domain.errors import ActionRefused, ClockRefused, FaultInvalid
from src.services.twin.domain.faults import CLOCK, Ask, ClockBack, ClockSkew, Lag, Rule
from src.services.twin.domain.history import History
from src.services.twin.domain.moments import SECOND, iso_utc
from src.services.twin.domain.orders import Fill, NewOrder, Order
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
    """One account at one venue, at one time, remembered. `order_posts` counts the orders that were knocked with."""

    def __init__(self, venue: Venue, clock: MarketClock, memory: Memory) -> None:
        self.venue = venue
        self.clock = clock
        self.faults = venue.faults
        self.order_posts = 0
        self._memory = memory
        self._listeners: list[Callable[[list[Event]], None]] = []
        self._history = History()
        self._begin_history()

    def listen(self, listener: Callable[[list[Event]], None]) -> None:
        """Have `listener` called with trade updates, after they are stored."""
        self._listeners.append(listener)

    def catch_up(self) -> Venue:
        """Bring the venue to the clock's time and return it."""
        now = self.clock.now()
        self.venue.host = self.clock.wall()
        if now > self.venue.now or self.venue.scripts.has_due(self.venue.host):
            with self._step():
                self.venue.advance(now)
                self.venue.settle()
        return self.venue

    def told_now(self) -> int:
        """Return the time that the venue's clock is said to show, in microseconds."""
        now = self.catch_up().now
        if not self.faults:
            return now
        back = self.faults.fired(ClockBack, Ask(CLOCK, now))
        told = self.dated_now() - int(back.seconds * SECOND if back else 0)
        return told if self.venue.sessions.covers(told) else now

    def dated_now(self) -> int:
        """Return the time that answers are dated with: the twin's, and what it is said to differ."""
        now = self.catch_up().now
        return now + sum(int(lie.seconds * SECOND) for lie in self.faults.standing(ClockSkew, now))

    def told_positions(self) -> dict[str, Position]:
        """Return the positions that answers show, by symbol."""
        told = dict(self.catch_up().book.positions)
        for lie in self._lags("positions"):
            past = self._history.at(self.venue.host - int(lie.seconds * SECOND)).positions
            told = {symbol: held for symbol, held in told.items() if not lie.is_about([symbol])}
            told |= {symbol: held for symbol, held in past.items() if lie.is_about([symbol])}
        return told

    def told_fills(self) -> list[Fill]:
        """Return the executions that activities show, oldest first."""
        venue = self.catch_up()
        told = [fill for fill in venue.fills if not venue.scripts.is_lost(fill)] if self.faults else list(venue.fills)
        for lie in self._lags("activities"):
            known = self._history.at(venue.host - int(lie.seconds * SECOND)).fills
            told = [fill for fill in told if fill.seq <= known or not lie.is_about([fill.symbol])]
        return told

    def _lags(self, of: str) -> list[Lag]:
        return [lie for lie in self.faults.standing(Lag, self.venue.now) if lie.of == of]

    def _begin_history(self) -> None:
        self._history.clear()
        self._history.note(0, self.venue.book.positions, len(self.venue.fills))

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

    def arm(self, rules: Sequence[Rule], source: str) -> list[int]:
        """Put rules of faults in force, all or none, and return their numbers.

        Raises:
            FaultInvalid: a rule names a symbol that the market does not have.
        """
        for number, rule in enumerate(rules, start=1):
            if rule.symbol is not None and rule.symbol not in self.venue.rules:
                raise FaultInvalid(f"rule {number}: symbol {rule.symbol!r} is unknown in this market")
        return self.faults.arm(rules, source)

    def schedule(self, terms: ActionTerms, announced_at: int | None = None) -> CorporateAction:
        """Have a corporate action happen at the open of its day. Raises ActionRefused."""
        self.catch_up()
        with self._step():
            return self.venue.schedule(terms, announced_at)

    def announce(self, announcements: Iterable[Announcement]) -> None:
        """Schedule what is not scheduled yet: a twin that is started again knows what it was told.

        Raises:
            FaultInvalid: one of them can't happen.
        """
        known = [action.terms for action in self.catch_up().actions.values()]
        for number, each in enumerate(announcements, start=1):
            if each.terms in known:
                continue
            try:
                self.schedule(each.terms, each.told_from)
            except ActionRefused as refusal:
                raise FaultInvalid(f"corporate action {number}: {refusal}") from refusal

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
        """Forget orders, fills, positions, cash and corporate actions; rules of faults stay."""
        self._memory.clear()
        self.order_posts = 0
        self.venue.reset(self.clock.now() if now is None else now)
        self._memory.note(now=str(self.venue.now))
        self._begin_history()

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
            if changes.fills or changes.activities:
                self._history.note(self.venue.host, self.venue.book.positions, len(self.venue.fills))
            for listener in self._listeners:
                listener(changes.events)
