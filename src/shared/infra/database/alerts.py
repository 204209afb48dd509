"""Alerts as rows: within the transaction of the change that they tell of."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from src.shared.infra.database.tables import alert as alert_table
from src.shared.messages.ops import AlertRaised


def write_alert(connection: Connection, alert: AlertRaised) -> bool:
    """Store an alert under its own id; False when it is there already."""
    values = {
        "alert_id": UUID(alert.aggregate_id),
        "severity": alert.severity,
        "title": alert.title,
        "detail": alert.detail,
        "correlation_id": alert.correlation_id,
        "occurred_at": alert.occurred_at,
    }
    statement = insert(alert_table).values(values).on_conflict_do_nothing(index_elements=[alert_table.c.alert_id])
    return connection.execute(statement.returning(alert_table.c.alert_id)).first() is not None
