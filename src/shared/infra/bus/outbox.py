"""The outbox as the relay and the consumers read it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, select

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


def envelope_of(row: Row[Any]) -> Envelope:
    """Make the envelope of a selected row."""
    return Envelope(position=row.position, event_id=row.event_id, channel=row.channel, payload=row.payload)
