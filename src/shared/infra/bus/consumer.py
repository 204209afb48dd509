"""A named consumer: every event once in its effects, in the order of positions, whatever fails in between.

The bus only says *that* something happened; *what* happened is read from the outbox, after the last position this
consumer has settled. So nothing depends on the bus: a message that was lost, doubled, early or forged leads to the
same reading, and a gap in positions closes itself.

Effects happen once: the handler gets the connection of the transaction that also moves the position and marks the
event id. What it writes elsewhere (a log line, a mail) can happen again after a crash.

A handler that raises is tried `attempts` times. Then the event is parked: a row in `ops.alert` says which event and
why, the position moves on so that the rest is not blocked, and the event stays in the outbox, unmarked, for `replay`.
Later events of the same aggregate are not held back: a handler must be able to do without one of them. PostgreSQL
being away is nobody's fault: that parks nothing and is waited for. So is whatever else a handler needs: it raises
`Transient` or `Unreachable` while that is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from threading import Event as StopEvent
from uuid import UUID

from loguru import logger
from sqlalchemy import Connection, Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from src.shared.domain.errors import InputInvalid, TradewindsError, Transient, Unreachable
from src.shared.domain.ids import derived_id
from src.shared.failpoints import failpoint
from src.shared.infra.bus.backoff import Backoff
from src.shared.infra.bus.outbox import RELAY_NAME, envelope_of, positioned
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.database.tables import alert, consumed_event, consumer_position, outbox
from src.shared.messages.envelope import Envelope
from src.shared.ports.event_bus import ALL_EVENTS, EventBus, Subscription

Handler = Callable[[Connection, Envelope], None]
"""Acts on one event. What it writes through the connection is committed together with the mark."""

_CLEAR_OUT_EVERY = 1000


class _HandlerFailed(TradewindsError):
    """The handler raised; the consumer tries again or parks the event."""


class Consumer:
    """Follows the outbox under a name. Several processes with one name share the work without doubling effects."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        handler: Handler,
        *,
        patterns: Sequence[str] = (ALL_EVENTS,),
        attempts: int = 3,
        retry_pause_seconds: float = 0.5,
        poll_seconds: float = 2.0,
        batch: int = 500,
        remember: timedelta = timedelta(days=7),
    ) -> None:
        if name == RELAY_NAME:
            raise ValueError(f"the name {name!r} is taken: the relay keeps its position under it")
        self._name = name
        self._engine = engine
        self._handler = handler
        self._patterns = tuple(patterns)
        self._attempts = attempts
        self._retry_pause_seconds = retry_pause_seconds
        self._poll_seconds = poll_seconds
        self._batch = batch
        self._remember = remember
        self._until_clear_out = 0
        self._seen = 0

    def catch_up(self, stop: StopEvent | None = None) -> int:
        """Settle every event that has a position by now; return how many were handled here.

        Raises:
            Transient: PostgreSQL, or what the handler needs, went away; what was settled stays settled.
            Unreachable: no PostgreSQL answers, or not what the handler needs.
        """
        handled = 0
        while not _is_set(stop) and (batch := self._next_batch()):
            handled += self._settle(batch, stop)
        return handled

    def run(self, bus: EventBus, stop: StopEvent) -> None:
        """Catch up, then follow the bus until `stop` is set. A bus that is away only makes it slower."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                self.catch_up(stop)
                with bus.subscribe((ALL_EVENTS,)) as news:
                    self._follow(news, stop, backoff)
            except (Transient, Unreachable) as error:
                logger.warning("Consumer {} waits: {}", self._name, error)
                stop.wait(backoff.next())

    def replay(self, event_id: UUID) -> bool:
        """Handle an event that was parked; return False if it was handled before.

        Raises:
            InputInvalid: the outbox does not hold it.
        """
        with translated_errors(self._engine), self._engine.begin() as connection:
            row = connection.execute(positioned().where(outbox.c.event_id == event_id)).one_or_none()
            if row is None:
                raise InputInvalid(f"The outbox holds no event {event_id}: it may have been cleared out.")
            return self._handle_once(connection, envelope_of(row))

    def _follow(self, news: Subscription, stop: StopEvent, backoff: Backoff) -> None:
        while not stop.is_set():
            # Also right after subscribing: something may have been published just before.
            self.catch_up(stop)
            backoff.reset()
            self._await_news(news, stop)

    def _await_news(self, news: Subscription, stop: StopEvent) -> None:
        while not stop.is_set():
            envelope = news.receive(self._poll_seconds)
            if envelope is None or envelope.position > self._seen:
                return

    def _next_batch(self) -> list[Envelope]:
        with translated_errors(self._engine), self._engine.connect() as connection:
            self._seen = self._position(connection)
            rows = connection.execute(positioned().where(outbox.c.position > self._seen).limit(self._batch)).all()
        return [envelope_of(row) for row in rows]

    def _settle(self, batch: list[Envelope], stop: StopEvent | None) -> int:
        handled = 0
        for envelope in batch:
            if _is_set(stop):
                return handled
            if any(fnmatchcase(envelope.channel, pattern) for pattern in self._patterns):
                handled += self._take(envelope)
        with translated_errors(self._engine), self._engine.begin() as connection:
            self._move_to(connection, batch[-1].position)
        return handled

    def _take(self, envelope: Envelope) -> bool:
        for attempt in range(1, self._attempts + 1):
            try:
                return self._take_once(envelope)
            except (_HandlerFailed, DBAPIError) as error:
                failure = error
                logger.warning("Consumer {}, event {}, try {}: {}", self._name, envelope.event_id, attempt, error)
            if attempt < self._attempts:
                time.sleep(self._retry_pause_seconds)
        self._park(envelope, failure)
        return False

    def _take_once(self, envelope: Envelope) -> bool:
        with translated_errors(self._engine), self._engine.begin() as connection:
            if not self._move_to(connection, envelope.position):
                return False
            handled = self._handle_once(connection, envelope)
            failpoint("consumer.before_commit")
        failpoint("consumer.after_commit")
        return handled

    def _handle_once(self, connection: Connection, envelope: Envelope) -> bool:
        if not self._marked(connection, envelope):
            return False
        self._clear_out(connection)
        failpoint("consumer.before_handle")
        try:
            self._handler(connection, envelope)
        except (DBAPIError, Transient, Unreachable):
            raise
        except Exception as error:
            raise _HandlerFailed(f"{type(error).__name__}: {error}") from error
        return True

    def _park(self, envelope: Envelope, failure: Exception) -> None:
        logger.error("Consumer {} parks event {}: {}", self._name, envelope.event_id, failure)
        with translated_errors(self._engine), self._engine.begin() as connection:
            if not self._move_to(connection, envelope.position):
                return
            connection.execute(insert(alert).values(self._alert(envelope, failure)).on_conflict_do_nothing())

    def _alert(self, envelope: Envelope, failure: Exception) -> dict[str, object]:
        return {
            "alert_id": derived_id("parked", self._name, str(envelope.event_id)),
            "severity": "error",
            "title": f"Consumer {self._name} could not handle an event",
            "detail": f"{envelope.channel}, event {envelope.event_id}, position {envelope.position}: {failure}",
            "correlation_id": str(envelope.payload.get("correlation_id", "")),
            "occurred_at": func.now(),
        }

    def _position(self, connection: Connection) -> int:
        mine = select(consumer_position.c.position).where(consumer_position.c.consumer == self._name)
        return connection.execute(mine).scalar() or 0

    def _move_to(self, connection: Connection, position: int) -> bool:
        """Move on to a position, which holds off others of this name; False when one of them was there before."""
        mine = consumer_position.c.consumer == self._name
        on = consumer_position.update().where(mine, consumer_position.c.position < position)
        on = on.values(position=position, updated_at=func.now())
        if connection.execute(on).rowcount:
            return True
        first = insert(consumer_position).values(consumer=self._name, position=0, updated_at=func.now())
        return bool(connection.execute(first.on_conflict_do_nothing()).rowcount and connection.execute(on).rowcount)

    def _marked(self, connection: Connection, envelope: Envelope) -> bool:
        mark = insert(consumed_event).values(consumer=self._name, event_id=envelope.event_id)
        done = connection.execute(mark.on_conflict_do_nothing().returning(consumed_event.c.event_id))
        return done.scalar() is not None

    def _clear_out(self, connection: Connection) -> None:
        self._until_clear_out -= 1
        if self._until_clear_out < 0:
            self._until_clear_out = _CLEAR_OUT_EVERY
            connection.execute(
                delete(consumed_event).where(
                    consumed_event.c.consumer == self._name,
                    consumed_event.c.recorded_at < func.clock_timestamp() - self._remember,
                )
            )


def _is_set(stop: StopEvent | None) -> bool:
    return stop is not None and stop.is_set()
