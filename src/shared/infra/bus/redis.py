"""The bus between processes: Redis pub/sub, one Redis channel per kind of event."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import redis
from loguru import logger
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from src.shared.domain.errors import SettingsInvalid, Transient, Unreachable
from src.shared.messages.envelope import Envelope
from src.shared.ports.event_bus import ALL_EVENTS


class RedisBus:
    """Publishes to and subscribes on one Redis server. Nothing connects until it is used."""

    def __init__(self, url: str, timeout_seconds: float = 2.0) -> None:
        """Take the server's URL.

        Raises:
            SettingsInvalid: it is not a Redis URL.
        """
        self._timeout = timeout_seconds
        self._client = make_redis_client(url, timeout_seconds)

    def publish(self, envelope: Envelope) -> None:
        """Hand an envelope to the present subscribers of its channel.

        Raises:
            Transient: Redis is away.
            Unreachable: Redis refuses the password.
        """
        with _translated_errors(self._client):
            self._client.publish(envelope.channel, envelope.model_dump_json())

    def subscribe(self, patterns: Sequence[str] = (ALL_EVENTS,)) -> RedisSubscription:
        """Listen to channels by pattern.

        Raises:
            Transient: Redis is away.
            Unreachable: Redis refuses the password.
        """
        pubsub: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]
        try:
            with _translated_errors(self._client):
                pubsub.psubscribe(*patterns)
                self._await_confirmations(pubsub, len(patterns))
        except BaseException:
            pubsub.close()
            raise
        return RedisSubscription(self._client, pubsub)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _await_confirmations(self, pubsub: PubSub, count: int) -> None:
        end = time.monotonic() + self._timeout
        while count:
            message = pubsub.get_message(timeout=max(0.0, end - time.monotonic()))
            count -= bool(message and message["type"] == "psubscribe")
            if count and time.monotonic() > end:
                raise redis.TimeoutError("the subscription was not confirmed in time")


class RedisSubscription:
    """One pub/sub connection."""

    def __init__(self, client: redis.Redis, pubsub: PubSub) -> None:
        self._client = client
        self._pubsub = pubsub

    def receive(self, timeout: float) -> Envelope | None:
        """Return the next envelope, or None when none came within `timeout` seconds.

        Raises:
            Transient: the connection is gone; subscribe anew.
        """
        end = time.monotonic() + timeout
        while True:
            with _translated_errors(self._client):
                message = self._pubsub.get_message(timeout=max(0.0, end - time.monotonic()))
            envelope = _envelope(message) if message else None
            if envelope is not None or time.monotonic() >= end:
                return envelope

    def close(self) -> None:
        """Stop listening."""
        self._pubsub.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def make_redis_client(url: str, timeout_seconds: float) -> redis.Redis:
    """Make a client whose waits are bounded and that tries everything once; nothing connects until it is used.

    Raises:
        SettingsInvalid: it is not a Redis URL.
    """
    # The driver must not retry by itself: a silent reconnect would hide that envelopes were missed.
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            client_name="tradewinds",
        )
    except ValueError:
        raise SettingsInvalid("The Redis URL is not usable: write redis://:password@host:6379/0.") from None


@contextmanager
def _translated_errors(client: redis.Redis) -> Iterator[None]:
    try:
        yield
    except redis.AuthenticationError as error:
        raise Unreachable(
            f"Redis at {_address(client)} refuses the password: correct TRADEWINDS_REDIS_URL."
        ) from error
    except (redis.RedisError, OSError) as error:
        raise Transient(f"Redis at {_address(client)} is away: {error}") from error


def _address(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host')}:{options.get('port')}")


def _envelope(message: dict[str, Any]) -> Envelope | None:
    if message["type"] != "pmessage":
        return None
    try:
        return Envelope.model_validate_json(message["data"])
    except ValidationError:
        logger.warning("Dropped what is no envelope from Redis channel {}", message["channel"])
        return None
