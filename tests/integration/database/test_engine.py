"""What the driver raises, in our own words: a database that goes away is Transient, never a driver's exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, func, text

from src.config.settings import load_settings
from src.shared.domain.errors import Transient
from src.shared.infra.database.engine import make_engine, translated_errors
from src.shared.infra.database.tables import alert
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.conftest import TradingDatabase


@pytest.fixture
def engine(trading_database: TradingDatabase) -> Iterator[Engine]:
    made = make_engine(trading_database.app_url, load_settings().database)
    yield made
    made.dispose()


def kill_session(connection: Connection, owner: Engine) -> None:
    backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with owner.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})


def test_a_session_that_is_ended_in_a_transaction_is_transient_in_every_later_statement(
    engine: Engine, trading_database: TradingDatabase, engine_for: Callable[[str], Engine]
) -> None:
    superuser = engine_for(trading_database.app_url)
    with pytest.raises(Transient), translated_errors(engine), engine.connect() as connection:
        kill_session(connection, superuser)
        with pytest.raises(Transient), translated_errors(engine):
            connection.execute(text("SELECT 1"))
        connection.execute(text("SELECT 1"))


def test_a_commit_that_finds_no_session_is_transient(
    engine: Engine, trading_database: TradingDatabase, engine_for: Callable[[str], Engine]
) -> None:
    store = SqlUnitOfWork(engine, lambda connection: connection)
    with pytest.raises(Transient), store() as work:
        kill_session(work.repo, engine_for(trading_database.app_url))
        work.commit()


def test_a_connection_that_was_closed_under_us_is_transient(engine: Engine) -> None:
    with pytest.raises(Transient), translated_errors(engine), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.connection.driver_connection.close()  # type: ignore[union-attr]
        connection.execute(text("SELECT 1"))


def test_a_statement_that_takes_too_long_is_transient(engine: Engine) -> None:
    with (
        pytest.raises(Transient, match="statement timeout"),
        translated_errors(engine),
        engine.connect() as connection,
    ):
        connection.execute(text("SET statement_timeout = 20"))
        connection.execute(text("SELECT pg_sleep(30)"))


def test_fault_38_a_transaction_that_meets_a_deadlock_is_transient(
    engine: Engine, in_two_sessions: tuple[Connection, Connection]
) -> None:
    one, other = in_two_sessions
    one.execute(text("SELECT pg_advisory_xact_lock(1)"))
    other.execute(text("SELECT pg_advisory_xact_lock(2)"))
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(_told, engine, one, "SELECT pg_advisory_xact_lock(2)")
        found = [_told(engine, other, "SELECT pg_advisory_xact_lock(1)"), waits.result(60)]

    assert sorted(map(str, found)) == ["None", "PostgreSQL: deadlock detected"]


def test_fault_38_a_transaction_that_cannot_be_serialised_is_transient(
    engine: Engine, in_two_sessions: tuple[Connection, Connection]
) -> None:
    for session in in_two_sessions:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        session.execute(text("SELECT count(*) FROM ops.alert"))
    for number, session in enumerate(in_two_sessions):
        row = {"alert_id": uuid4(), "title": f"{number}", "occurred_at": func.now()}
        session.execute(alert.insert().values(severity="info", detail="", correlation_id="", **row))
    one, other = in_two_sessions
    one.commit()

    with pytest.raises(Transient, match="could not serialize"), translated_errors(engine):
        other.commit()


def _told(engine: Engine, connection: Connection, statement: str) -> Transient | None:
    """Do it, commit, and return what went wrong."""
    try:
        with translated_errors(engine):
            connection.execute(text(statement))
            connection.commit()
    except Transient as error:
        return error
    return None


@pytest.fixture
def in_two_sessions(engine: Engine) -> Iterator[tuple[Connection, Connection]]:
    with engine.connect() as one, engine.connect() as other:
        yield one, other


def test_a_pool_that_is_empty_is_transient(
    trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_DATABASE_POOL_SIZE", "1")
    engine = make_engine(trading_database.app_url, load_settings().database)
    engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    refused = pytest.raises(Transient, match="every connection")
    with engine.connect(), engine.connect(), refused, translated_errors(engine), engine.connect():
        pytest.fail("a third connection")
    engine.dispose()
