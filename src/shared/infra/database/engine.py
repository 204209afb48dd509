"""SQLAlchemy engines, and the one table that turns driver errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc
from sqlalchemy import Engine, create_engine

from src.config.settings import DatabaseSettings
from src.shared.domain.errors import TradewindsError, Transient, Unreachable
from src.shared.infra.postgres_urls import normalised_url

# Class 40: the server rolled the transaction back so that it can be repeated. 57P0x, 53xxx: it is going away or full.
# 57014, 55P03: it took too long, for a statement or for a lock. 58030: its disk failed; it starts again by itself.
_REPEATABLE_SQLSTATES = ("40", "57P0", "57014", "53", "08", "55P03", "58030")
_NO_CONNECTION = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)


def make_engine(url: str, settings: DatabaseSettings) -> Engine:
    """Make an engine; nothing connects until it is used. Every statement is bounded in time.

    Raises:
        SettingsInvalid: it is not a PostgreSQL URL.
    """
    milliseconds = int(settings.statement_timeout_seconds * 1000)
    return create_engine(
        normalised_url(url),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": settings.connect_timeout_seconds,
            "options": f"-c timezone=UTC -c statement_timeout={milliseconds}",
            "application_name": "tradewinds",
        },
    )


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Raise Transient for what a retry may mend and Unreachable where no server answers; let the rest be seen."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        raise _translate(error, engine) from error
    except sqlalchemy.exc.TimeoutError as error:
        raise Transient("PostgreSQL: every connection of the pool is in use") from error
    except sqlalchemy.exc.PendingRollbackError as error:
        raise Transient("PostgreSQL: the connection was lost in the transaction") from error


def _translate(error: sqlalchemy.exc.DBAPIError, engine: Engine) -> Exception:
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if sqlstate.startswith(_REPEATABLE_SQLSTATES):
        return Transient(f"PostgreSQL: {reason}")
    if isinstance(error, _NO_CONNECTION) and not sqlstate:
        where = engine.url.render_as_string(hide_password=True)
        return _no_answer(error, f"PostgreSQL at {where} does not answer: {reason}")
    return error


def _no_answer(error: sqlalchemy.exc.DBAPIError, message: str) -> TradewindsError:
    return Transient(message) if error.connection_invalidated else Unreachable(message)
