"""The request limit as one process keeps it by itself: permits that come back a minute after they were taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from src.shared.domain.errors import Transient

WINDOW_SECONDS = 60.0
LONGEST_PAUSE_WAITED = 5.0
# Less may not move a clock at all, for rounding.
_SHORTEST_WAIT = 1e-6


@dataclass(frozen=True)
class Limits:
    """Most permits out at once: for ordinary requests, and for urgent ones, which may use the reserve as well."""

    ordinary: int
    urgent: int

    @classmethod
    def of_all(cls, permits: int, *, reserve: bool) -> Limits:
        """Keep a fifth of the permits for urgent requests, or none where no request is urgent."""
        return cls(permits - permits // 5 if reserve else permits, permits)

    def of(self, urgent: bool) -> int:
        """Return the limit that holds for a request."""
        return self.urgent if urgent else self.ordinary


@dataclass(frozen=True)
class Patience:
    """How many seconds a request waits for a permit: at our own limit, and while the vendor has us pause."""

    own_seconds: float = WINDOW_SECONDS
    vendor_seconds: float = LONGEST_PAUSE_WAITED


SHORT_PATIENCE = Patience()


@dataclass(frozen=True)
class Held:
    """Why there is no permit now: the seconds until asking again makes sense, and whether the vendor said so."""

    seconds: float
    by_vendor: bool = False


@dataclass(frozen=True)
class Permit:
    """A permit that this process holds: its number, and when it was taken, by the process's clock."""

    number: int
    taken_at: float


class OwnWindow:
    """The permits of this process, and the vendor's pause as far as it knows. Not safe between threads."""

    def __init__(self, limits: Limits, window_seconds: float, now: Callable[[], float]) -> None:
        self._limits = limits
        self._window_seconds = window_seconds
        self._now = now
        self._permits: deque[Permit] = deque()
        self.next_number = 1
        self._paused_until = float("-inf")

    def ask(self, *, urgent: bool) -> Held | None:
        """Take a permit, or say why there is none."""
        if not urgent and (pause := self._paused_until - self._now()) > 0:
            return Held(pause, by_vendor=True)
        permits = self.permits()
        over = len(permits) - self._limits.of(urgent)
        if over >= 0:
            wait = permits[over].taken_at + self._window_seconds - self._now()
            return Held(max(wait, _SHORTEST_WAIT))
        self.note()
        return None

    def note(self) -> None:
        """Hold a permit with the next number, wherever it was given."""
        self._permits.append(Permit(self.next_number, self._now()))
        self.next_number += 1

    def permits(self) -> deque[Permit]:
        """Return the permits that are out, oldest first."""
        while self._permits and self._permits[0].taken_at <= self._now() - self._window_seconds:
            self._permits.popleft()
        return self._permits

    def pause(self, seconds: float) -> None:
        """Hold back what is not urgent."""
        self._paused_until = max(self._paused_until, self._now() + seconds)


class MinuteLimiter:
    """At most `per_minute` requests in any 60 seconds, however they bunch.

    A bucket that refills steadily would let its whole depth plus a minute's refill through in one minute, which is
    more than the vendor allows; here a permit is back only 60 seconds after it was taken. A fifth of the permits is
    a reserve for urgent requests, unless `reserve` is off.
    """

    def __init__(
        self,
        per_minute: int,
        patience: Patience = SHORT_PATIENCE,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        *,
        reserve: bool = True,
    ) -> None:
        self._window = OwnWindow(Limits.of_all(per_minute, reserve=reserve), WINDOW_SECONDS, now)
        self._patience = patience
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()

    def take(self, *, urgent: bool = False) -> None:
        """Wait for a permit; see `RateLimiter.take`."""
        wait_for_permit(lambda: self._ask(urgent), self._patience, self._now, self._sleep)

    def pause(self, seconds: float) -> None:
        """Hold back requests that are not urgent for at most a minute."""
        with self._lock:
            self._window.pause(min(seconds, WINDOW_SECONDS))

    def _ask(self, urgent: bool) -> Held | None:
        with self._lock:
            return self._window.ask(urgent=urgent)


def wait_for_permit(
    ask: Callable[[], Held | None], patience: Patience, now: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Ask until there is a permit.

    Raises:
        Transient: there is none within the wait, or the vendor's pause is longer than a request should hang.
    """
    deadline = now() + patience.own_seconds
    while (held := ask()) is not None:
        if held.by_vendor and held.seconds > patience.vendor_seconds:
            raise Transient(
                f"the vendor's request limit is reached for another {held.seconds:.0f} s; nothing was sent"
            )
        if now() + held.seconds > deadline:
            raise Transient(
                f"own request limit reached, the next permit is {held.seconds:.1f} s away; nothing was sent"
            )
        sleep(held.seconds)
