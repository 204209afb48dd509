"""What the role of the running services may do, renewed after every migration."""

from __future__ import annotations

from sqlalchemy import Connection, text

from src.shared.infra.database.tables import SCHEMAS
from src.shared.infra.postgres_roles import APP_ROLE

APPEND_ONLY = (
    "data_ingestion.data_quality",
    "execution.fill",
    "execution.ledger_entry",
    "execution.ledger_posting",
    "ops.audit_log",
    "risk.limit_change",
    "strategy.gate_verdict",
)


def grant_app_role(connection: Connection) -> None:
    """Let the app role read and write rows, and only add to the append-only tables.

    A server that is not ours may lack the role, or the app may own the tables itself: then nothing is granted.
    """
    if not _is_grantable(connection):
        return
    for schema in SCHEMAS:
        if _exists(connection, "to_regnamespace", schema):
            _grant_schema(connection, schema)
    for table in (*APPEND_ONLY, "ops.alembic_version"):
        if _exists(connection, "to_regclass", table):
            connection.execute(text(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {APP_ROLE}"))
    if _exists(connection, "to_regclass", "ops.alembic_version"):
        connection.execute(text(f"REVOKE INSERT ON ops.alembic_version FROM {APP_ROLE}"))


def _is_grantable(connection: Connection) -> bool:
    found = connection.execute(
        text("SELECT rolname <> current_user FROM pg_roles WHERE rolname = :role"), {"role": APP_ROLE}
    ).scalar()
    return bool(found)


def _exists(connection: Connection, lookup: str, name: str) -> bool:
    return connection.execute(text(f"SELECT {lookup}(:name) IS NOT NULL"), {"name": name}).scalar_one() is True


def _grant_schema(connection: Connection, schema: str) -> None:
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {APP_ROLE}"))
    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {APP_ROLE}"))
    connection.execute(text(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {APP_ROLE}"))
