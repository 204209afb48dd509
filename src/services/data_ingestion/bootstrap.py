"""Wires data ingestion. Nothing connects until it is used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from src.config.settings import QualitySettings, Settings
from src.services.data_ingestion.adapters.alpaca_history import AlpacaHistory
from src.services.data_ingestion.adapters.company_repository import SqlCompanyRepository
from src.services.data_ingestion.adapters.history_repository import SqlHistoryRepository
from src.services.data_ingestion.adapters.polygon.factory import make_wire
from src.services.data_ingestion.adapters.polygon.history import PolygonHistory
from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.adapters.reference_repository import SqlReferenceRepository
from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.adapters.sql_quality import SqlQualityRepository
from src.services.data_ingestion.adapters.symbol_book import SqlSymbolBook
from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.history import YahooHistory
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.services.data_ingestion.adapters.yahoo.source import YahooCompanies
from src.services.data_ingestion.domain.company import CompanyDataset
from src.services.data_ingestion.domain.rules.judging import QualityLimits
from src.services.data_ingestion.domain.rules.jumps import JumpLimits
from src.services.data_ingestion.domain.rules.vendors import AgreementLimits
from src.services.data_ingestion.ports import ReferenceSource
from src.services.data_ingestion.use_cases.companies import CompanyData
from src.services.data_ingestion.use_cases.history import HistoryLoad
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.services.data_ingestion.use_cases.quality import DataQuality
from src.services.data_ingestion.use_cases.reference import ReferenceLoad
from src.services.data_ingestion.use_cases.symbols import SymbolsToLoad
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url
from src.shared.infra.limiters import make_limiter
from src.shared.infra.rate_limit import Patience
from src.shared.ports.broker import MarketClockSource
from src.shared.ports.market_data import BarSource

OLDEST = "1990-01-01"
_YAHOO_PATIENCE = Patience(own_seconds=600, vendor_seconds=75)


def build_history(engine: Engine, clock: MarketClockSource) -> HistoryLoad:
    """Build long loads."""
    return HistoryLoad(
        work=SqlUnitOfWork(engine, SqlHistoryRepository), clock=clock, calendar=TradingCalendar(first=OLDEST)
    )


def build_companies(settings: Settings, engine: Engine, client: Callable[[], AlpacaClient]) -> CompanyData:
    """Build loads of company data; `client` gives the broker's client, whose clock is the market's in the twin."""
    yahoo = settings.yahoo
    is_twin = settings.environment == "twin"
    return CompanyData(
        work=SqlUnitOfWork(engine, SqlCompanyRepository),
        source=YahooCompanies(_yahoo_client(settings)),
        now=(lambda: client().clock().now) if is_twin else (lambda: datetime.now(UTC)),
        due_days={
            CompanyDataset.INFORMATION: yahoo.information_due_days,
            CompanyDataset.OFFICERS: yahoo.officers_due_days,
            CompanyDataset.STATISTICS: yahoo.statistics_due_days,
            CompanyDataset.STATEMENTS: yahoo.statements_due_days,
            CompanyDataset.HOLDERS: yahoo.holders_due_days,
            CompanyDataset.DIVIDENDS: yahoo.dividends_due_days,
            CompanyDataset.SPLITS: yahoo.dividends_due_days,
            CompanyDataset.EARNINGS: yahoo.earnings_due_days,
        },
        workers=yahoo.symbols_at_once,
    )


def _yahoo_client(settings: Settings) -> YahooClient:
    yahoo, url = settings.yahoo, settings.yahoo_url
    # Loads have time: they wait for permits, and nothing of Yahoo's is urgent.
    limiter = make_limiter(settings, url or "yahoo", "", yahoo.requests_per_minute, _YAHOO_PATIENCE, reserve=False)
    return YahooClient(Route(url, yahoo.connect_timeout_seconds, yahoo.read_timeout_seconds), limiter)


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
        "yahoo": lambda: YahooHistory(_yahoo_client(settings)),
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


def build_quality(settings: Settings, engine: Engine | None = None) -> DataQuality:
    """Build what judges stored series; it needs no vendor.

    Raises:
        Unreachable: the embedded PostgreSQL is to be used and does not run.
    """
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return DataQuality(
        work=SqlUnitOfWork(engine, SqlQualityRepository),
        calendar=TradingCalendar(),
        limits=quality_limits(settings.quality),
        window=timedelta(days=settings.quality.window_days),
    )


def quality_limits(quality: QualitySettings) -> QualityLimits:
    """Read what the rules let pass from the settings."""
    return QualityLimits(
        max_missing_fraction=quality.max_missing_fraction,
        max_hole_sessions=quality.max_hole_sessions,
        max_stale_sessions=quality.max_stale_sessions,
        max_frozen_bars=quality.max_frozen_bars,
        max_untraded_fraction=quality.max_untraded_fraction,
        max_volume_ratio=quality.max_volume_ratio,
        jumps=JumpLimits(quality.min_jump_fraction, quality.hole_deviations),
        agreement=AgreementLimits(
            quality.min_common_bars, quality.max_median_basis_points, quality.max_worst_basis_points
        ),
    )
