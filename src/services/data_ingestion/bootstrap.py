"""Wires data ingestion. Nothing connects until it is used."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.data_ingestion.adapters.alpaca_history import AlpacaHistory
from src.services.data_ingestion.adapters.history_repository import SqlHistoryRepository
from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.use_cases.history import HistoryLoad
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url
from src.shared.ports.market_data import BarSource


def build_history(engine: Engine, client: AlpacaClient) -> HistoryLoad:
    """Build long loads; `client` is asked for the time."""
    return HistoryLoad(work=SqlUnitOfWork(engine, SqlHistoryRepository), clock=client, calendar=TradingCalendar())


def source(vendor: str, _settings: Settings, client: Callable[[], AlpacaClient]) -> BarSource:
    """Make the source of a vendor's past bars; `client` gives the client of the broker to a source that needs it.

    Raises:
        InputInvalid: there is no such vendor.
    """
    # A vendor is added by a line here, and takes what it needs from the settings.
    vendors: dict[str, Callable[[], BarSource]] = {
        "alpaca": lambda: AlpacaHistory(client()),
    }
    if vendor not in vendors:
        raise InputInvalid(f"{vendor!r} is no vendor of bars: there are {', '.join(vendors)}.")
    return vendors[vendor]()


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
