"""Wire analytics. Tasks, commands and tests call `build`; nothing connects before it is used."""

from __future__ import annotations

from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.analytics.adapters.sql_results import SqlResultsRepository
from src.services.analytics.use_cases import Analytics
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
