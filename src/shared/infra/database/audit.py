"""The audit log as every service writes it: within the transaction of the change that it tells of."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, insert

from src.shared.domain.audit import AuditNote
from src.shared.infra.database.tables import audit_log


def write_note(connection: Connection, note: AuditNote) -> None:
    """Add a line to the audit log."""
    connection.execute(insert(audit_log).values(**asdict(note)))
