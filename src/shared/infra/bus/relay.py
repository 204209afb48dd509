"""The relay: the only one who gives events their position and takes them from the outbox to the bus.

Why it, and not a serial column, gives positions: a serial number is drawn when a row is inserted, but the row is seen
when its transaction commits. A reader that pages by such a number steps over whoever drew early and commits late. The
relay numbers only what is committed, one transaction after the other, so what becomes visible later always gets a
higher position.

There is one at a time: a session advisory lock elects it, on the same connection that writes the positions. A relay
that lost its connection lost its lock and can write nothing; at worst it publishes a second time what it held in its
hands, and consumers drop that. Candidates wait and ask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event as StopEvent
from typing import Any
from uuid import UUID

from loguru import logger
from sqlalchemy import Connection, Engine, Row, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from src.shared.domain.errors import Transient, Unreachable
from src.shared.failpoints import failpoint
from src.shared.infra.bus.backoff import Backoff
from src.shared.infra.bus.outbox import NOTIFY_CHANNEL, RELAY_NAME, envelope_of, positioned
from src.shared.infra.database.election import await_notification, elected, hear
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import consumer_position, outbox
from src.shared.ports.event_bus import EventBus

_KEY = lock_key("outbox-relay")


class OutboxRelay:
    """Publishes the outbox in the order of positions: at least once, and again after a crash before the mark."""

    def __init__(self, engine: Engine, bus: EventBus, *, batch: int = 500, poll_seconds: float = 1.0) -> None:
        self._engine = engine
        self._bus = bus
        self._batch = batch
        self._poll_seconds = poll_seconds

    def drain(self, limit: int | None = None) -> int:
        """Publish what is committed now, at most `limit` events, and return how many.

        Another relay at work means 0: it publishes them.

        Raises:
            Transient: PostgreSQL or the bus is away; what was published is marked, the rest waits.
            Unreachable: no PostgreSQL answers.
        """
        with elected(self._engine, _KEY) as connection:
            return 0 if connection is None else self._drain(connection, limit)

    def run(self, stop: StopEvent) -> None:
        """Be the relay, or wait to become it, until `stop` is set. Servers that are away are waited for."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                with elected(self._engine, _KEY) as connection:
                    if connection is not None:
                        self._lead(connection, stop, backoff)
                stop.wait(self._poll_seconds)
            except (Transient, Unreachable) as error:
                logger.warning("Outbox relay waits: {}", error)
                stop.wait(backoff.next())

    def _lead(self, connection: Connection, stop: StopEvent, backoff: Backoff) -> None:
        hear(connection, NOTIFY_CHANNEL)
        while not stop.is_set():
            if not self._step(connection, self._batch):
                await_notification(connection, self._poll_seconds)
            backoff.reset()

    def _drain(self, connection: Connection, limit: int | None) -> int:
        published = 0
        while limit is None or published < limit:
            step = self._step(connection, self._batch if limit is None else min(self._batch, limit - published))
            if not step:
                break
            published += step
        return published

    def _step(self, connection: Connection, limit: int) -> int:
        with connection.begin():
            _give_positions(connection, self._batch)
            failpoint("relay.before_positions")
        failpoint("relay.positions_given")
        with connection.begin():
            unpublished = positioned().where(outbox.c.published_at.is_(None)).limit(limit)
            rows = connection.execute(unpublished).all()
        return self._publish(connection, rows)

    def _publish(self, connection: Connection, rows: Sequence[Row[Any]]) -> int:
        published: list[UUID] = []
        try:
            for row in rows:
                failpoint("relay.before_publish")
                self._bus.publish(envelope_of(row))
                failpoint("relay.after_publish")
                published.append(row.event_id)
        finally:
            _mark(connection, published)
        failpoint("relay.marked")
        return len(published)


def _give_positions(connection: Connection, limit: int) -> None:
    last = _locked_position(connection)
    unseen = (
        select(outbox.c.event_id)
        .where(outbox.c.position.is_(None), outbox.c.published_at.is_(None))
        .order_by(outbox.c.recorded_at, outbox.c.aggregate, outbox.c.aggregate_id, outbox.c.aggregate_version)
        .limit(limit)
    )
    numbered = [
        {"id": event_id, "given": position}
        for position, event_id in enumerate(connection.execute(unseen).scalars(), start=last + 1)
    ]
    if numbered:
        one = outbox.update().where(outbox.c.event_id == bindparam("id")).values(position=bindparam("given"))
        connection.execute(one, numbered)
        connection.execute(_position_is(last + len(numbered)))


def _locked_position(connection: Connection) -> int:
    """The last position given, kept apart from the outbox: clearing out old events must not start it anew."""
    first = insert(consumer_position).values(consumer=RELAY_NAME, position=0, updated_at=func.now())
    connection.execute(first.on_conflict_do_nothing())
    mine = select(consumer_position.c.position).where(consumer_position.c.consumer == RELAY_NAME)
    return int(connection.execute(mine.with_for_update()).scalar_one())


def _position_is(position: int) -> Any:
    return (
        update(consumer_position)
        .where(consumer_position.c.consumer == RELAY_NAME)
        .values(position=position, updated_at=func.now())
    )


def _mark(connection: Connection, event_ids: Sequence[UUID]) -> None:
    if event_ids:
        with connection.begin():
            connection.execute(
                update(outbox).where(outbox.c.event_id.in_(event_ids)).values(published_at=func.clock_timestamp())
            )
