"""A sign of life in Redis, for processes that nobody can ask. Without Redis there is none, and nothing else fails."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import redis
from loguru import logger

from src.shared.infra.bus.redis import make_redis_client

LISTENER = "execution-listener"
"""The process that hears the broker's trade updates."""

STRATEGY_ENGINE = "strategy-engine"
"""The process that runs instances of strategies."""

NO_ENGINE = "none runs: instances decide in the hourly run alone"
"""What it means where no strategy engine has run lately."""

EVENT_BRIDGE = "event-bridge"
"""The process that starts flow runs by events."""

CONNECTED = "connected"
"""What it says when all is well."""

_SECONDS = 1.0
# Who has been silent for longer is not missed any more.
_REMEMBERED_SECONDS = 7 * 24 * 3600


class Heartbeat:
    """Says under a name that its process lives and what it does; forgotten after `lasts_seconds` without a beat."""

    def __init__(self, redis_url: str, name: str, lasts_seconds: float) -> None:
        self._url = redis_url
        self._key = heartbeat_key(name)
        self._lasts = lasts_seconds

    def beat(self, state: str) -> None:
        """Say it now; that all is well is remembered with its time for a week."""
        self._say(state, only_if_silent=False)

    def stand_by(self, state: str) -> None:
        """Say it now, unless another process of this name, the one that is waited for, has said something lately."""
        self._say(state, only_if_silent=True)

    def _say(self, state: str, *, only_if_silent: bool) -> None:
        try:
            self._client.set(self._key, state, px=int(self._lasts * 1000), nx=only_if_silent)
            if state == CONNECTED:
                seen = datetime.now(UTC).isoformat(timespec="seconds")
                self._client.set(last_seen_key(self._key), seen, ex=_REMEMBERED_SECONDS)
        except (redis.RedisError, OSError) as error:
            logger.debug("No sign of life could be given: {}", error)

    @cached_property
    def _client(self) -> redis.Redis:
        return make_redis_client(self._url, _SECONDS)


def last_beat(redis_url: str, name: str) -> str | None:
    """Return what a process said last; None where it has said nothing for a while, or Redis does not answer."""
    return _read(redis_url, heartbeat_key(name))


def last_seen(redis_url: str, name: str) -> str | None:
    """Return when a process was well last, as an ISO time; None where that was more than a week ago, or never."""
    return _read(redis_url, last_seen_key(heartbeat_key(name)))


def heartbeat_key(name: str) -> str:
    """Name the key under which a process says that it lives."""
    return f"tradewinds.alive.{name}"


def last_seen_key(key: str) -> str:
    """Name the key that remembers when the process of a heartbeat's key was well."""
    return f"{key}.seen"


def _read(redis_url: str, key: str) -> str | None:
    try:
        with make_redis_client(redis_url, _SECONDS) as client:
            said: Any = client.get(key)
    except (redis.RedisError, OSError):
        return None
    return None if said is None else bytes(said).decode()
