"""The request limit of an account, kept in Redis for all its processes on all hosts.

A script of our own, where the library `limits` would be the natural choice, because of what that does not do: its
moving window goes by the clock of each caller, and hosts disagree; requests of two classes can't draw on one window,
for the limit is part of the key; it does not say how long to wait; and it can't be told of permits that were given
while Redis was away. The script is atomic and takes its time from Redis. With every request it hears which permits
this process holds, so that a Redis that was restarted or flushed knows them again.

Redis never stops trading. Where it is away, slow or full, a process goes by its own count: ordinary requests get a
quarter of the limit, so that a few processes together stay within it, and urgent ones the whole, for an exit must not
wait for a cache. What is too much then is answered by the vendor with a 429, which pauses what is not urgent.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import redis
from loguru import logger

from src.shared.infra.bus.backoff import Backoff
from src.shared.infra.bus.redis import make_redis_client
from src.shared.infra.rate_limit import (
    SHORT_PATIENCE,
    WINDOW_SECONDS,
    Held,
    Limits,
    OwnWindow,
    Patience,
    wait_for_permit,
)

REDIS_SECONDS = 0.05
SHARE_WITHOUT_REDIS = 4
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 15.0
_MICROSECONDS = 1_000_000

_NOW = """
local function microseconds(given)
    local time = redis.call('TIME')
    return tonumber(given) or time[1] * 1000000 + time[2]
end
local function exact(number)
    return string.format('%.0f', number)
end
"""

# A permit of the future was taken before the server's clock was set back: it counts from now. So does a pause that
# is longer than any that is asked for.
_TAKE = f"""{_NOW}
local taken, paused = KEYS[1], KEYS[2]
local now, window, limit, mine = microseconds(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[5]

for i = 6, #ARGV, 2 do
    redis.call('ZADD', taken, 'NX', exact(now - ARGV[i + 1]), ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', taken, '-inf', exact(now - window))
for _, early in ipairs(redis.call('ZRANGEBYSCORE', taken, '(' .. exact(now), '+inf')) do
    redis.call('ZADD', taken, exact(now), early)
end

local pause = tonumber(redis.call('GET', paused) or 0) - now
if ARGV[4] == 'ordinary' and pause > 0 and pause <= window then
    return {{'vendor', pause}}
end
local over = redis.call('ZCARD', taken) - limit
if over >= 0 then
    return {{'own', redis.call('ZRANGE', taken, over, over, 'WITHSCORES')[2] + window - now}}
end
redis.call('ZADD', taken, exact(now), mine)
redis.call('PEXPIRE', taken, math.ceil(window / 1000))
return {{'granted', 0}}
"""

_PAUSE = f"""{_NOW}
local now, window, pause = microseconds(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
if before < now + pause or before > now + window then
    redis.call('SET', KEYS[1], exact(now + pause), 'PX', math.ceil(pause / 1000))
end
"""


class SharedLimiter:
    """At most `per_minute` requests of an account in any window, over everybody who names the same account and Redis.

    Nothing connects before the first permit. Safe to use from several threads.
    """

    def __init__(
        self,
        redis_url: str,
        account: str,
        per_minute: int,
        *,
        window_seconds: float = WINDOW_SECONDS,
        patience: Patience = SHORT_PATIENCE,
        reserve: bool = True,
        redis_seconds: float = REDIS_SECONDS,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        redis_now: Callable[[], float] | None = None,
    ) -> None:
        """Take the limit's name and place. `redis_now` takes the place of the time of Redis, in seconds."""
        self._url = redis_url
        self._keys = [f"tradewinds.limit.{account}.taken", f"tradewinds.limit.{account}.paused"]
        self._limits = Limits.of_all(per_minute, reserve=reserve)
        self._window_seconds = window_seconds
        self._patience = patience
        self._redis_seconds = redis_seconds
        self._now = now
        self._sleep = sleep
        self._redis_now = redis_now
        self._process = uuid.uuid4().hex[:12]
        share = Limits.of_all(max(1, per_minute // SHARE_WITHOUT_REDIS), reserve=reserve).ordinary
        self._own = OwnWindow(Limits(share, per_minute), window_seconds, now)
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._away_until: float | None = None
        self._lock = threading.Lock()

    def take(self, *, urgent: bool = False) -> None:
        """Wait for a permit; see `RateLimiter.take`."""
        wait_for_permit(lambda: self._ask(urgent), self._patience, self._now, self._sleep)

    def pause(self, seconds: float) -> None:
        """Hold back requests of all processes that are not urgent, for at most a window."""
        bounded = min(seconds, self._window_seconds)
        with self._lock:
            self._own.pause(bounded)
            if bounded > 0:
                self._if_redis_is_there(lambda: self._tell_pause(bounded))

    def _ask(self, urgent: bool) -> Held | None:
        with self._lock:
            answer = self._if_redis_is_there(lambda: self._ask_redis(urgent))
            if answer is None:
                return self._own.ask(urgent=urgent)
            kind, wait = answer[0], float(answer[1]) / _MICROSECONDS
            if kind != b"granted":
                return Held(wait, by_vendor=kind == b"vendor")
            self._own.note()
            return None

    def _ask_redis(self, urgent: bool) -> Any:
        # A permit that Redis gave without our hearing of it is asked for, or taken here, under the same number.
        now = self._now()
        held = [(self._name(p.number), _micros(now - p.taken_at)) for p in self._own.permits()]
        kind = "urgent" if urgent else "ordinary"
        arguments = [
            self._limits.of(urgent),
            kind,
            self._name(self._own.next_number),
            *(word for pair in held for word in pair),
        ]
        return self._take_script(self._keys, self._frame(*arguments))

    def _tell_pause(self, seconds: float) -> bool:
        self._pause_script(self._keys[1:], self._frame(_micros(seconds)))
        return True

    def _frame(self, *arguments: Any) -> Sequence[Any]:
        given = "" if self._redis_now is None else _micros(self._redis_now())
        return [given, _micros(self._window_seconds), *arguments]

    def _name(self, number: int) -> str:
        return f"{self._process}:{number}"

    def _if_redis_is_there(self, ask: Callable[[], Any]) -> Any:
        """Return what Redis answers; None while it is taken to be away."""
        if self._away_until is not None and self._now() < self._away_until:
            return None
        try:
            answer = ask()
        except (redis.RedisError, OSError) as error:
            self._lost(error)
            return None
        if self._away_until is not None:
            logger.info("The request limit is shared again: Redis is back.")
            self._away_until = None
            self._backoff.reset()
        return answer

    def _lost(self, error: Exception) -> None:
        if self._away_until is None:
            logger.warning("The request limit is not shared now, each process goes by its own count: {}", error)
        self._away_until = self._now() + self._backoff.next()

    @cached_property
    def _client(self) -> redis.Redis:
        return make_redis_client(self._url, self._redis_seconds)

    @cached_property
    def _take_script(self) -> Any:
        return self._client.register_script(_TAKE)

    @cached_property
    def _pause_script(self) -> Any:
        return self._client.register_script(_PAUSE)


def _micros(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
