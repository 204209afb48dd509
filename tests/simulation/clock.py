"""Time that passes only when somebody waits: the market's, the host's (which may be wrong) and asyncio's."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000


class SimClock:
    """True time in microseconds, moved by waiting alone, and the host's clock, which is `skew` away from it.

    It is a `WallClock` of the execution service. Whatever waits on asyncio waits here too: a server that still works
    on a request when its client has gone does so when time gets there.
    """

    def __init__(self) -> None:
        self.micros = 0
        self.skew = timedelta(0)
        self.loop = _SimLoop(self)

    def set(self, moment: datetime) -> None:
        """Begin anew at a moment, with the host's clock right."""
        self.loop.close()
        self.micros = (moment - _EPOCH) // timedelta(microseconds=1)
        self.skew = timedelta(0)
        self.loop = _SimLoop(self)

    def true(self) -> datetime:
        """Return the market's time."""
        return _EPOCH + timedelta(microseconds=self.micros)

    def now(self) -> datetime:
        """Return what the host takes for the time."""
        return self.true() + self.skew

    def sleep(self, seconds: float) -> None:
        """Let time pass, and everything happen that falls due in it."""
        self.run(asyncio.sleep(seconds))

    def sleep_until(self, moment: datetime) -> None:
        """Let time pass up to a moment of the market; one that has passed is now."""
        self.sleep(max(0.0, (moment - self.true()).total_seconds()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)

    def host(self) -> HostTime:
        """Return what stands in for the module `time`."""
        return HostTime(self)

    def close(self) -> None:
        """Let go of the event loop."""
        self.loop.close()


@dataclass(frozen=True)
class HostTime:
    """The functions of the module `time` that code under test uses, on simulated time."""

    clock: SimClock

    def time(self) -> float:
        """Seconds since 1970 as the host has them."""
        return self.clock.now().timestamp()

    def monotonic(self) -> float:
        """Seconds that no setting of the host's clock moves."""
        return self.clock.micros / _SECOND

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.sleep(seconds)


class _SimLoop(asyncio.SelectorEventLoop):
    """An event loop that, with nothing to do, moves time on to its next timer instead of waiting for it."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._started = clock.micros
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return (self._clock.micros - self._started) / _SECOND


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: SimClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for something that nothing will bring about")
            self._clock.micros += math.ceil(timeout * _SECOND)
        return ready
