"""A sign of life in Redis, for processes that nobody can ask. Without Redis there is none, and nothing else fails."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import redis
from loguru import logger

from src.shared.infra.bus.redis import make_redis_client

LISTENER = "execution-listener"
"""The process that hears the broker's trade updates."""

STRATEGY_ENGINE = "strategy-engine"
"""The process that runs instances of strategies."""

EVENT_BRIDGE = "event-bridge"
"""The process that starts flow runs by events."""

CONNECTED = "connected"
"""What it says when all is well."""

_SECONDS = 1.0


class Heartbeat:
    """Says under a name that its process lives and what it does; forgotten after `lasts_seconds` without a beat."""

    def __init__(self, redis_url: str, name: str, lasts_seconds: float) -> None:
        self._url = redis_url
        self._key = heartbeat_key(name)
        self._lasts = lasts_seconds

    def beat(self, state: str) -> None:
        """Say it now."""
        try:
            self._client.set(self._key, state, px=int(self._lasts * 1000))
        except (redis.RedisError, OSError) as error:
            logger.debug("No sign of life could be given: {}", error)

    @cached_property
    def _client(self) -> redis.Redis:
        return make_redis_client(self._url, _SECONDS)


def last_beat(redis_url: str, name: str) -> str | None:
    """Return what a process said last; None where it has said nothing for a while, or Redis does not answer."""
    try:
        with make_redis_client(redis_url, _SECONDS) as client:
            said: Any = client.get(heartbeat_key(name))
    except (redis.RedisError, OSError):
        return None
    return None if said is None else bytes(said).decode()


def heartbeat_key(name: str) -> str:
    """Name the key under which a process says that it lives."""
    return f"tradewinds.alive.{name}"
