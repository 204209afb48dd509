"""One process among several at a work, and news from the database: both on a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, Engine, func, select, text

from src.shared.domain.errors import Transient
from src.shared.infra.database.engine import translated_errors


@contextmanager
def elected(engine: Engine, key: int) -> Iterator[Connection | None]:
    """Yield the connection that holds the session lock of that key, or None while another session does.

    Raises:
        Transient: PostgreSQL went away, and the lock with it.
        Unreachable: no PostgreSQL answers.
    """
    with translated_errors(engine), engine.connect() as connection:
        # Closing really closes, so that the lock never stays with a connection in the pool.
        connection.detach()
        with connection.begin():
            led = connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one()
        yield connection if led else None


def hear(connection: Connection, channel: str) -> None:
    """Let notifications of a channel come to this connection. `channel` is written by code, never by a person."""
    with connection.begin():
        connection.execute(text(f"LISTEN {channel}"))


def await_notification(connection: Connection, timeout: float) -> list[str]:
    """Wait at most `timeout` seconds for notifications, and return what they say; none where none came.

    Raises:
        Transient: PostgreSQL went away.
    """
    driver: object = connection.connection.dbapi_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("notifications come through psycopg: use a postgresql+psycopg URL")
    try:
        return [each.payload for each in driver.notifies(timeout=timeout, stop_after=1)]
    except psycopg.OperationalError as error:
        raise Transient(f"PostgreSQL went away: {error}") from error
