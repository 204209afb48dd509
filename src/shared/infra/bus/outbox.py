"""The outbox as the relay and the consumers read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, select

from src.shared.infra.database.tables import outbox
from src.shared.messages.envelope import Envelope

NOTIFY_CHANNEL = "tradewinds_outbox"
"""PostgreSQL notifies here when a transaction that recorded events commits (a trigger of the first migration)."""

RELAY_NAME = "relay"
"""Under this name `ops.consumer_position` holds the last position given."""


def positioned() -> Select[Any]:
    """Select envelopes of the events that have a position, in order."""
    return (
        select(outbox.c.position, outbox.c.event_id, outbox.c.channel, outbox.c.payload)
        .where(outbox.c.position.is_not(None))
        .order_by(outbox.c.position)
    )


def recorded_at(connection: Connection, event_id: UUID) -> datetime:
    """Return when an event was written down, by the wall clock."""
    moment: datetime = connection.execute(
        select(outbox.c.recorded_at).where(outbox.c.event_id == event_id)
    ).scalar_one()
    return moment


def envelope_of(row: Row[Any]) -> Envelope:
    """Make the envelope of a selected row."""
    return Envelope(position=row.position, event_id=row.event_id, channel=row.channel, payload=row.payload)
