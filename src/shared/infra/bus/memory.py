"""The bus inside one process: for backtests and tests."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from queue import Empty, SimpleQueue
from threading import Lock
from types import TracebackType
from typing import Self

from src.shared.messages.envelope import Envelope
from src.shared.ports.event_bus import ALL_EVENTS


class MemoryBus:
    """Hands envelopes from thread to thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._subscriptions: list[MemorySubscription] = []

    def publish(self, envelope: Envelope) -> None:
        """Hand an envelope to the present subscribers of its channel."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.offer(envelope)

    def subscribe(self, patterns: Sequence[str] = (ALL_EVENTS,)) -> MemorySubscription:
        """Listen to channels by pattern."""
        subscription = MemorySubscription(self, tuple(patterns))
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def close(self) -> None:
        """Drop every subscription."""
        with self._lock:
            self._subscriptions.clear()

    def drop(self, subscription: MemorySubscription) -> None:
        """Stop handing envelopes to a subscription."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)


class MemorySubscription:
    """A queue of what was published."""

    def __init__(self, bus: MemoryBus, patterns: tuple[str, ...]) -> None:
        self._bus = bus
        self._patterns = patterns
        self._queue: SimpleQueue[Envelope] = SimpleQueue()

    def offer(self, envelope: Envelope) -> None:
        """Queue an envelope if it matches a pattern."""
        if any(fnmatchcase(envelope.channel, pattern) for pattern in self._patterns):
            self._queue.put(envelope)

    def receive(self, timeout: float) -> Envelope | None:
        """Return the next envelope, or None when none came within `timeout` seconds."""
        try:
            return self._queue.get(timeout=timeout)
        except Empty:
            return None

    def close(self) -> None:
        """Stop listening."""
        self._bus.drop(self)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
