"""Say at which revision of the schema a database is, and whether it is one that this code was written for.

Every process looks before it begins, so Alembic, which takes longer to import than the look, is left to `migrate`.
A migration's file is named by its revision; they follow each other in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, pool, text

from src.shared.domain.errors import SchemaMismatch
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.postgres_urls import normalised_url

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_SCHEMA = "ops"
_VERSION_TABLE = f"{VERSION_SCHEMA}.alembic_version"


def known() -> tuple[str, ...]:
    """Return the revisions that this code knows, oldest first."""
    names = sorted(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    if not names:
        raise SchemaMismatch("This installation holds no migrations: install Tradewinds again.")
    return tuple(name.partition("_")[0] for name in names)


def head() -> str:
    """Return the revision this code was written for."""
    return known()[-1]


def current(url: str) -> str | None:
    """Return the revision the database is at, None where nothing has been migrated."""
    with connected(url) as connection:
        return revision_of(connection)


def check_known(url: str) -> None:
    """Let a database pass that this code can upgrade: empty, older or at `head()`.

    Raises:
        SchemaMismatch: it is newer.
        Unreachable: no server answers.
    """
    check_revision(current(url))


def check(url: str) -> None:
    """Let a database pass that is at `head()`.

    Raises:
        SchemaMismatch: it is empty, older or newer; the message says what to do.
        Unreachable: no server answers.
    """
    revision = current(url)
    check_revision(revision)
    if revision is None:
        raise SchemaMismatch("The database holds no schema of Tradewinds yet: run `tradewinds up`.")
    if revision != head():
        raise SchemaMismatch(
            f"The database schema is at revision {revision}, this code needs {head()}: run `tradewinds up`."
        )


def check_revision(revision: str | None) -> None:
    """Let a revision pass that this code knows, or none at all.

    Raises:
        SchemaMismatch: it is newer.
    """
    if revision and revision not in known():
        raise SchemaMismatch(
            f"The database schema is at revision {revision}, which is newer than this code (it ends at {head()}): "
            "install the Tradewinds that migrated it, or restore an older backup."
        )


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Connect without a statement time-out: a migration of a large table may take its time."""
    engine = create_engine(
        normalised_url(url),
        poolclass=pool.NullPool,
        connect_args={"connect_timeout": 10, "options": "-c timezone=UTC", "application_name": "tradewinds-migrate"},
    )
    with translated_errors(engine), engine.connect() as connection:
        yield connection


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a database that one is connected to."""
    if connection.execute(text("SELECT to_regclass(:table)"), {"table": _VERSION_TABLE}).scalar() is None:
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608
