"""Wires data ingestion. Nothing connects until it is used."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from src.config.settings import QualitySettings, Settings
from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.adapters.sql_quality import SqlQualityRepository
from src.services.data_ingestion.domain.rules.judging import QualityLimits
from src.services.data_ingestion.domain.rules.jumps import JumpLimits
from src.services.data_ingestion.domain.rules.vendors import AgreementLimits
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.services.data_ingestion.use_cases.quality import DataQuality
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
