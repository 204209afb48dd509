"""Wire analytics. Tasks, commands and tests call `build`; nothing connects before it is used."""

from __future__ import annotations

from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.analytics.adapters.sql_indicators import SqlIndicatorRepository
from src.services.analytics.adapters.sql_results import SqlResultsRepository
from src.services.analytics.domain.indicators import IndicatorParameters
from src.services.analytics.use_cases.indicators import Indicators
from src.services.analytics.use_cases.results import Analytics
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url


def build(settings: Settings, engine: Engine | None = None) -> Analytics:
    """Wire the service on the database of the settings, or on an engine that the caller has already.

    Raises:
        Unreachable: the settings name no database and the embedded PostgreSQL does not run.
    """
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return Analytics(SqlUnitOfWork(engine, SqlResultsRepository), TradingCalendar())


def build_indicators(settings: Settings, engine: Engine | None = None) -> Indicators:
    """Wire what works indicators out. Raises as `build`."""
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    chosen = settings.indicators.model_dump()
    batch_symbols = chosen.pop("batch_symbols")
    return Indicators(
        SqlUnitOfWork(engine, SqlIndicatorRepository), IndicatorParameters(**chosen), batch_symbols=batch_symbols
    )
