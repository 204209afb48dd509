"""The bus: carries what just happened to whoever listens at that moment. It forgets; the outbox does not."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from src.shared.messages.envelope import Envelope

ALL_EVENTS = "tradewinds.*"
"""The pattern that matches every channel."""


class Subscription(Protocol):
    """What was published on the matching channels since it was made, each envelope once, in order."""

    def receive(self, timeout: float) -> Envelope | None:
        """Return the next envelope, or None when none came within `timeout` seconds.

        Raises:
            Transient: the connection is gone and envelopes may have been missed; subscribe anew.
        """
        ...

    def close(self) -> None:
        """Stop listening. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


class EventBus(Protocol):
    """Publishes to those who are subscribed now; keeps nothing."""

    def publish(self, envelope: Envelope) -> None:
        """Hand an envelope to the present subscribers of its channel.

        Raises:
            Transient: the bus is away; publishing again is safe, consumers drop what they have seen.
        """
        ...

    def subscribe(self, patterns: Sequence[str] = (ALL_EVENTS,)) -> Subscription:
        """Listen to channels by pattern (`*` stands for any characters); whatever is published from now on arrives.

        Raises:
            Transient: the bus is away.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
