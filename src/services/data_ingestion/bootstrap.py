"""Wires data ingestion. Nothing connects until it is used."""

from __future__ import annotations

from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url


def build(settings: Settings, engine: Engine | None = None, client: AlpacaClient | None = None) -> DataIngestion:
    """Build data ingestion for the environment of the settings; `engine` and `client` take the place of theirs.

    Raises:
        SettingsInvalid: paper or live without keys.
        Unreachable: the embedded PostgreSQL is to be used and does not run.
    """
    client = client or make_alpaca_client(settings)
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return DataIngestion(
        work=SqlUnitOfWork(engine, SqlMarketRepository),
        prices=client,
        clock=client,
        account=client,
        calendar=TradingCalendar(),
    )
