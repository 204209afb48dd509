"""Wires data ingestion. Nothing connects until it is used."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.data_ingestion.adapters.alpaca_history import AlpacaHistory
from src.services.data_ingestion.adapters.history_repository import SqlHistoryRepository
from src.services.data_ingestion.adapters.polygon.factory import make_wire
from src.services.data_ingestion.adapters.polygon.history import PolygonHistory
from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.adapters.reference_repository import SqlReferenceRepository
from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.adapters.symbol_book import SqlSymbolBook
from src.services.data_ingestion.ports import ReferenceSource
from src.services.data_ingestion.use_cases.history import HistoryLoad
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.services.data_ingestion.use_cases.reference import ReferenceLoad
from src.services.data_ingestion.use_cases.symbols import SymbolsToLoad
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url
from src.shared.ports.broker import MarketClockSource
from src.shared.ports.market_data import BarSource

OLDEST = "1990-01-01"


def build_history(engine: Engine, clock: MarketClockSource) -> HistoryLoad:
    """Build long loads."""
    return HistoryLoad(
        work=SqlUnitOfWork(engine, SqlHistoryRepository), clock=clock, calendar=TradingCalendar(first=OLDEST)
    )


def build_reference(engine: Engine) -> ReferenceLoad:
    """Build loads of listings, splits and dividends."""
    return ReferenceLoad(SqlUnitOfWork(engine, SqlReferenceRepository))


def build_symbols(engine: Engine) -> SymbolsToLoad:
    """Build what says which symbols to load."""
    return SymbolsToLoad(SqlUnitOfWork(engine, SqlSymbolBook))


def polygon_reference(settings: Settings) -> ReferenceSource:
    """Make the source of Polygon.io's listings, splits and dividends.

    Raises:
        SettingsInvalid: there is no key.
    """
    return PolygonReference(make_wire(settings))


def source(vendor: str, settings: Settings, client: Callable[[], AlpacaClient]) -> BarSource:
    """Make the source of a vendor's past bars; `client` gives the client of the broker to a source that needs it.

    Raises:
        InputInvalid: there is no such vendor.
        SettingsInvalid: the vendor wants a key, and there is none.
    """
    # A vendor is added by a line here, and takes what it needs from the settings.
    vendors: dict[str, Callable[[], BarSource]] = {
        "alpaca": lambda: AlpacaHistory(client()),
        "polygon": lambda: PolygonHistory(make_wire(settings)),
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
        client=AlpacaHistory(client).client,
    )
