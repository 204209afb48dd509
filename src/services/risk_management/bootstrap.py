"""Wire risk management from the settings. Nothing connects before it is used."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, Engine

from src.config.settings import Settings
from src.services.risk_management.adapters.broker_facts import DailyBrokerFacts, MoneySource
from src.services.risk_management.adapters.risk_repository import SqlRiskRepository
from src.services.risk_management.domain.values import SessionRules
from src.services.risk_management.ports import RiskRepository
from src.services.risk_management.use_cases.limits import LimitBook
from src.services.risk_management.use_cases.review import RiskManagement
from src.services.risk_management.use_cases.watch import PortfolioWatch
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url


def build(settings: Settings, engine: Engine | None = None, broker: MoneySource | None = None) -> RiskManagement:
    """Return the wired service; `engine` and `broker` take the place of those of the settings.

    Raises:
        Unreachable: the embedded database does not run.
        UserError: settings and keys do not fit together.
    """
    return RiskManagement(
        store=_store(settings, engine),
        broker=DailyBrokerFacts(make_alpaca_client(settings) if broker is None else broker),
        calendar=TradingCalendar(),
        seed=settings.risk.limits(),
        session=session_rules(settings),
    )


def build_limits(settings: Settings, engine: Engine | None = None) -> LimitBook:
    """Return the wired book of limits, which needs no broker. Raises as `build`."""
    return LimitBook(_store(settings, engine), settings.risk.limits())


def build_watch(
    settings: Settings, engine: Engine | None = None, broker: MoneySource | None = None
) -> PortfolioWatch:
    """Return the wired watch over the portfolio. Arguments and errors as of `build`."""
    return PortfolioWatch(
        store=_store(settings, engine),
        broker=DailyBrokerFacts(make_alpaca_client(settings) if broker is None else broker),
        calendar=TradingCalendar(),
        seed=settings.risk.limits(),
    )


def session_rules(settings: Settings) -> SessionRules:
    """Lay the settings out as what entries need besides limits."""
    strategy = settings.strategy
    return SessionRules(strategy.overnight, timedelta(seconds=strategy.max_slot_age_seconds))


def _store(settings: Settings, engine: Engine | None) -> SqlUnitOfWork[RiskRepository]:
    if engine is None:
        engine = make_engine(trading_database_url(settings), settings.database)
    return SqlUnitOfWork(engine, _repository)


def _repository(connection: Connection) -> RiskRepository:
    return SqlRiskRepository(connection, read_closes)
