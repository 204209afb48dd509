"""`Dumps` by PostgreSQL's own programs, and what a database holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from src.services.maintenance.adapters import pg_programs
from src.services.maintenance.domain.backups import BackupFailed, Facts
from src.services.maintenance.ports import Source
from src.shared.domain.errors import Unreachable

_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
    ORDER BY 1, 2
"""
_LEDGER = "SELECT account, asset, sum(amount)::text FROM execution.ledger_posting GROUP BY 1, 2"
_VERSION_TABLES = ("ops.alembic_version", "public.alembic_version")
_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class PostgresDumps:
    """Custom-format dumps of a whole database. No program runs longer than `seconds`."""

    seconds: float

    def dump(self, source: Source, to: Path) -> tuple[Facts, str]:
        """Write the dump, and count in the snapshot that it is taken from."""
        with connected(source.url) as connection:
            programs = pg_programs.to_dump(connection.info.server_version)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = _one(connection, "SELECT pg_export_snapshot()")
            facts = _facts(connection)
            arguments = ("--format=custom", f"--snapshot={snapshot}", f"--file={to}")
            # Only we may read it: it holds all there is. pg_dump keeps the mode of a file that exists.
            to.touch(mode=0o600)
            programs.run("pg_dump", *arguments, url=source.url, seconds=self.seconds)
        return facts, programs.text

    def size(self, source: Source) -> int:
        """Ask the server."""
        with connected(source.url) as connection:
            pg_programs.to_dump(connection.info.server_version)
            return int(str(_one(connection, "SELECT pg_database_size(current_database())")))

    def look_into(self, file: Path) -> None:
        """Read the table of contents."""
        said = pg_programs.newest().run("pg_restore", "--list", str(file), url=None, seconds=self.seconds)
        if "TABLE DATA" not in said:
            raise BackupFailed(f"{file.name} holds no table.")

    def restore(self, file: Path, url: str) -> None:
        """Restore in one transaction, as the role of the URL, to whom everything will belong."""
        with connected(url) as connection:
            programs = pg_programs.to_restore(connection.info.server_version)
        how = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
        programs.run("pg_restore", *how, str(file), url=url, seconds=self.seconds)

    def facts(self, url: str) -> Facts:
        """Count in one transaction."""
        with connected(url) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return _facts(connection)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """Open a plain connection in autocommit mode, without limits of time: what it does may take its time.

    Raises:
        Unreachable: no server answers, or it refuses us.
        BackupFailed: the connection was lost.
    """
    # A transaction that waits for pg_dump looks idle.
    options = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c timezone=UTC"
    try:
        connection = psycopg.connect(
            pg_programs.libpq_url(url),
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            options=options,
            application_name="tradewinds-maintenance",
        )
    except psycopg.OperationalError as error:
        raise Unreachable(f"PostgreSQL: {_line(error)}") from None
    with connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise BackupFailed(f"PostgreSQL: {_line(error)}") from error


def _facts(connection: psycopg.Connection) -> Facts:
    tables = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        counting = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
        tables[f"{schema}.{name}"] = int(str(_one(connection, counting)))
    ledger = {}
    if _one(connection, "SELECT to_regclass('execution.ledger_posting') IS NOT NULL"):
        ledger = {f"{account} {asset}": total for account, asset, total in connection.execute(_LEDGER)}
    return Facts(connection.info.server_version, _schema_version(connection), tables, ledger)


def _schema_version(connection: psycopg.Connection) -> str:
    for table in _VERSION_TABLES:
        if _one(connection, sql.SQL("SELECT to_regclass({}) IS NOT NULL").format(table)):
            name = sql.Identifier(*table.split("."))
            return str(_one(connection, sql.SQL("SELECT max(version_num) FROM {}").format(name)) or "")
    return ""


def _one(connection: psycopg.Connection, query: sql.Composed | sql.SQL | str) -> object:
    row = connection.execute(query).fetchone()  # type: ignore[arg-type,unused-ignore]
    return None if row is None else row[0]


def _line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
