"""The request limit of one process: permits that come back a minute after they were taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from src.shared.domain.errors import Transient

WINDOW_SECONDS = 60.0
LONGEST_PAUSE_WAITED = 5.0


class MinuteLimiter:
    """At most `per_minute` requests in any 60 seconds, however they bunch.

    A bucket that refills steadily would let its whole depth plus a minute's refill through in one minute, which is
    more than the vendor allows; here a permit is back only 60 seconds after it was taken. A fifth of the permits is
    a reserve for urgent requests.
    """

    def __init__(
        self,
        per_minute: int,
        max_wait_seconds: float = WINDOW_SECONDS,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._urgent_limit = per_minute
        self._limit = per_minute - per_minute // 5
        self._max_wait = max_wait_seconds
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()
        self._paused_until = float("-inf")

    def take(self, *, urgent: bool = False) -> None:
        """Wait for a permit; see `RateLimiter.take`."""
        if not urgent:
            self._wait_for_vendor()
        deadline = self._now() + self._max_wait
        while (wait := self._try(urgent)) > 0:
            if self._now() + wait > deadline:
                raise Transient(f"own request limit reached, the next permit is {wait:.1f} s away; nothing was sent")
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Hold back requests that are not urgent for at most a minute."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._now() + min(seconds, WINDOW_SECONDS))

    def _wait_for_vendor(self) -> None:
        wait = self._paused_until - self._now()
        if wait > LONGEST_PAUSE_WAITED:
            raise Transient(f"the vendor's request limit is reached for another {wait:.0f} s; nothing was sent")
        if wait > 0:
            self._sleep(wait)

    def _try(self, urgent: bool) -> float:
        with self._lock:
            now = self._now()
            while self._taken and self._taken[0] <= now - WINDOW_SECONDS:
                self._taken.popleft()
            wait = self._seconds_to_wait(now, urgent)
            if wait <= 0:
                self._taken.append(now)
            return wait

    def _seconds_to_wait(self, now: float, urgent: bool) -> float:
        over = len(self._taken) - (self._urgent_limit if urgent else self._limit)
        return self._taken[over] + WINDOW_SECONDS - now if over >= 0 else 0.0
