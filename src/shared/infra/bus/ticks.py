"""Ticks between processes over Redis: the newest of each symbol counts, and what nobody hears is gone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import redis
from redis.client import PubSub

from src.shared.domain.errors import InputInvalid, Transient
from src.shared.domain.ids import parse_symbol
from src.shared.domain.ticks import Tick
from src.shared.infra.bus.redis import make_redis_client

CHANNEL = "tradewinds-ticks"
"""Besides the channels of events, which begin with `tradewinds.`."""

_SECONDS = 2.0


class TickChannel:
    """Publishes and hears ticks. Nothing connects until it is used."""

    def __init__(self, url: str) -> None:
        self._client = make_redis_client(url, _SECONDS)

    def publish(self, tick: Tick) -> None:
        """Tell a tick to whoever listens now.

        Raises:
            Transient: Redis is away.
        """
        said = {"symbol": tick.symbol, "price": tick.price, "time": tick.time.isoformat()}
        with _translated_errors():
            self._client.publish(CHANNEL, json.dumps(said))

    @contextmanager
    def hearing(self) -> Iterator[Ticks]:
        """Listen.

        Raises:
            Transient: Redis is away, or went away.
        """
        with _translated_errors():
            pubsub: PubSub = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            try:
                pubsub.subscribe(CHANNEL)
                yield Ticks(pubsub)
            finally:
                pubsub.close()

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


class Ticks:
    """What is told while it listens."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    def next(self, timeout: float) -> Tick | None:
        """Return the next tick; None when there was none in time, or what came is none.

        Raises:
            Transient: Redis went away.
        """
        with _translated_errors():
            message = self._pubsub.get_message(timeout=timeout)
        return None if message is None else _tick(message["data"])


def _tick(data: bytes) -> Tick | None:
    try:
        said = json.loads(data)
        tick = Tick(parse_symbol(said["symbol"]), float(said["price"]), datetime.fromisoformat(said["time"]))
    except (ValueError, TypeError, KeyError, InputInvalid):
        return None
    return tick if math.isfinite(tick.price) and tick.price > 0 and tick.time.tzinfo is not None else None


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise Transient(f"Redis is away: {error}") from error
