"""Alerts as rows, and the conditions they tell of: within the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, not_, update
from sqlalchemy.dialects.postgresql import insert

from src.shared.infra.database.tables import alert as alert_table
from src.shared.infra.database.tables import alert_condition
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


def condition_begins(connection: Connection, scope: str, about: str, at: datetime) -> int | None:
    """Note that something is so; return how often that has begun by now, None where it went on from before."""
    c = alert_condition.c
    first = insert(alert_condition).values(scope=scope, about=about, is_so=True, times=1, changed_at=at)
    again = {"is_so": True, "times": c.times + 1, "changed_at": at}
    statement = first.on_conflict_do_update(index_elements=[c.scope, c.about], set_=again, where=not_(c.is_so))
    return connection.execute(statement.returning(c.times)).scalar_one_or_none()


def conditions_end(connection: Connection, scope: str, still: Collection[str], at: datetime) -> None:
    """Note that nothing of a scope is so any more but `still`."""
    c = alert_condition.c
    others = update(alert_condition).where(c.scope == scope, c.is_so, c.about.not_in(still))
    connection.execute(others.values(is_so=False, changed_at=at))
