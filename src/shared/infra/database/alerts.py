"""Alerts as every service keeps them: within the transaction of what they tell of."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from src.shared.infra.database.tables import alert
from src.shared.messages.ops import AlertRaised


def write_alert(connection: Connection, raised: AlertRaised) -> bool:
    """Store an alert under its own id; False when it is there already."""
    values = {
        "alert_id": UUID(raised.aggregate_id),
        "severity": raised.severity,
        "title": raised.title,
        "detail": raised.detail,
        "correlation_id": raised.correlation_id,
        "occurred_at": raised.occurred_at,
    }
    statement = insert(alert).values(values).on_conflict_do_nothing(index_elements=[alert.c.alert_id])
    return connection.execute(statement.returning(alert.c.alert_id)).first() is not None
