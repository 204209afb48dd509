"""What Alembic runs: one transaction for everything, one upgrade at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, func, pool, select, text

from src.config.settings import load_settings
from src.shared.infra.database.grants import grant_app_role
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.revisions import VERSION_SCHEMA
from src.shared.infra.database.tables import METADATA, SCHEMAS
from src.shared.infra.postgres_urls import normalised_url


def _migrate(connection: Connection) -> None:
    with connection.begin():
        # Held to the end of the transaction: a second upgrade waits here and then finds nothing to do.
        connection.execute(select(func.pg_advisory_xact_lock(lock_key("migrate"))))
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS ops"))
        context.configure(
            connection=connection,
            target_metadata=METADATA,
            include_schemas=True,
            include_name=_is_ours,
            version_table_schema=VERSION_SCHEMA,
            compare_type=True,
            compare_server_default=True,
        )
        context.run_migrations()
        grant_app_role(connection)


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    del parents
    return name in SCHEMAS if kind == "schema" else name != "alembic_version"


def _own_url() -> str:
    """Return the URL from the command line (`alembic -x url=…`), else that of the trading database's owner."""
    from src.shared.infra.embedded.stack import trading_database_url

    given = context.get_x_argument(as_dictionary=True).get("url")
    return given or trading_database_url(load_settings(), "owner")


def _run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        return _migrate(connection)
    with create_engine(normalised_url(_own_url()), poolclass=pool.NullPool).connect() as own:
        _migrate(own)


_run()
