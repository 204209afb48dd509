"""Wire the execution service. Tests, tasks and commands call `build`; nothing connects before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Engine, inspect

from src.config.settings import Settings
from src.services.execution.adapters.sql_actions import SqlActionStore
from src.services.execution.adapters.sql_desk import SqlDeskStore
from src.services.execution.adapters.sql_facts import SqlFacts
from src.services.execution.adapters.sql_trades import SqlTradeStore
from src.services.execution.adapters.writer_lock import PostgresWriterLock
from src.services.execution.domain.two_leg import Rules
from src.services.execution.ports import TradingBroker, WallClock
from src.services.execution.use_cases.companies import Companies
from src.services.execution.use_cases.compare import Comparison
from src.services.execution.use_cases.cycle import Execution
from src.services.execution.use_cases.desk import Desk
from src.services.execution.use_cases.drive import Cycle, Driver, Patience
from src.services.execution.use_cases.look import Look
from src.services.execution.use_cases.verify import Verification, verify_books
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import writer_epoch
from src.shared.infra.database.unit_of_work import SqlUnitOfWork

ATTEMPTS_PER_SLOT = 3


@dataclass(frozen=True)
class HostClock:
    """The host's clock."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class ExecutionService:
    """The wired service."""

    cycle: Execution
    verification: Verification
    desk: Desk


def build(
    settings: Settings, engine: Engine, broker: TradingBroker, clock: WallClock | None = None
) -> ExecutionService:
    """Wire the service on an engine (role of the application) and a broker."""
    clock = clock or HostClock()
    calendar = TradingCalendar()
    account = settings.environment
    store = SqlUnitOfWork(engine, lambda connection: SqlTradeStore(connection, account))
    tolerance = Decimal(str(settings.execution.leg_tolerance))
    rules = Rules(timedelta(seconds=settings.execution.leg_deadline_seconds), tolerance, ATTEMPTS_PER_SLOT)
    patience = Patience(
        settings.execution.poll_seconds,
        settings.execution.unknown_lookups,
        timedelta(seconds=settings.execution.unknown_window_seconds),
        timedelta(seconds=settings.execution.pass_wait_seconds),
    )
    drift = timedelta(seconds=settings.execution.max_clock_drift_seconds)
    # A twin's clock stands wherever it was set.
    host_drift = None if settings.environment == "twin" else drift
    comparison = Comparison(store, broker, clock, calendar, settings.environment, drift, host_drift)

    def make_driver(cycle: Cycle) -> Driver:
        return Driver(store, broker, clock, rules, patience, settings.environment, cycle)

    execution = Execution(
        store=store,
        broker=broker,
        clock=clock,
        calendar=calendar,
        become_writer=PostgresWriterLock(engine, account, settings.execution.writer_wait_seconds),
        make_driver=make_driver,
        comparison=comparison,
        environment=settings.environment,
        companies=Companies(
            SqlUnitOfWork(engine, lambda connection: SqlActionStore(connection, account)), broker, calendar
        ),
    )
    verification = Verification(
        SqlFacts(engine), broker, execution.open_gate, execution.become_writer, settings.environment, tolerance
    )
    desk = Desk(_desk_store(settings, engine), execution, settings.environment)
    return ExecutionService(execution, verification, desk)


def build_look(settings: Settings, engine: Engine) -> Look:
    """Wire what only reads: it needs no broker."""
    return Look(_desk_store(settings, engine), settings.environment)


def build_books_check(settings: Settings) -> Callable[[str], list[str]]:
    """Make what says of the trading database at a URL which invariants its books break; it needs no broker."""
    tolerance = Decimal(str(settings.execution.leg_tolerance))

    def check(url: str) -> list[str]:
        engine = make_engine(url, settings.database)
        try:
            found = verify_books(SqlFacts(engine), tolerance)
        finally:
            engine.dispose()
        return [f"{each.name}: {breach}" for each in found for breach in each.breaches]

    return check


def build_writer_lock(settings: Settings) -> Callable[[str], AbstractContextManager[None]]:
    """Make what holds the writer's place in the trading database at a URL, unless somebody trades there now.

    Where the table of writers is lost nobody can trade, and there is no place to hold.
    """

    @contextmanager
    def hold(url: str) -> Iterator[None]:
        engine = make_engine(url, settings.database)
        try:
            with ExitStack() as held:
                if inspect(engine).has_table(writer_epoch.name, schema=writer_epoch.schema):
                    held.enter_context(PostgresWriterLock(engine, settings.environment, 0.0)(wait=False))
                yield
        finally:
            engine.dispose()

    return hold


def _desk_store(settings: Settings, engine: Engine) -> SqlUnitOfWork[SqlDeskStore]:
    return SqlUnitOfWork(engine, lambda connection: SqlDeskStore(connection, settings.environment))
