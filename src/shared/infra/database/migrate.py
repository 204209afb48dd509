"""Move a database to a revision of the schema, and say whether it is at the one this code was written for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, pool

from src.shared.domain.errors import SchemaMismatch
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.postgres_urls import normalised_url

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Bring the schema to a revision, in one transaction: all of it or nothing. At that revision: no change.

    Several processes may upgrade at once, the later ones wait; within a process Alembic allows one at a time.

    Args:
        owner_url: who may create schemas; the objects will belong to this role.
        revision: as Alembic writes it.

    Raises:
        SchemaMismatch: the database is at a revision that this code does not know.
        Unreachable: no server answers.
    """
    with _connected(owner_url) as connection:
        check_revision(_revision(connection))
        connection.rollback()
        command.upgrade(_config(connection), revision)


def downgrade(owner_url: str, revision: str) -> None:
    """Take the schema back to a revision (`base`: nothing), in one transaction. Data of what is dropped is lost.

    Raises:
        SchemaMismatch: the database is at a revision that this code does not know.
        Unreachable: no server answers.
    """
    with _connected(owner_url) as connection:
        check_revision(_revision(connection))
        connection.rollback()
        command.downgrade(_config(connection), revision)


def current(url: str) -> str | None:
    """Return the revision the database is at, None where nothing has been migrated."""
    with _connected(url) as connection:
        return _revision(connection)


def head() -> str:
    """Return the revision this code was written for."""
    newest = _scripts().get_current_head()
    if newest is None:
        raise SchemaMismatch("This installation holds no migrations: install Tradewinds again.")
    return newest


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
    if not revision:
        return
    try:
        _scripts().get_revision(revision)
    except CommandError:
        raise SchemaMismatch(
            f"The database schema is at revision {revision}, which is newer than this code (it ends at {head()}): "
            "install the Tradewinds that migrated it, or restore an older backup."
        ) from None


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    # No statement time-out here: a migration of a large table may take its time.
    engine = create_engine(
        normalised_url(url),
        poolclass=pool.NullPool,
        connect_args={"connect_timeout": 10, "options": "-c timezone=UTC", "application_name": "tradewinds-migrate"},
    )
    with translated_errors(engine), engine.connect() as connection:
        yield connection


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": "ops"})
    return context.get_current_revision()


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={} if connection is None else {"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
