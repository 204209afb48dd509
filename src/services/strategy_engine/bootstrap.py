"""Wire the strategy engine. Tasks, commands and tests call `build`; nothing connects before it is used."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from src.config.settings import Settings, StrategySettings
from src.services.strategy_engine.adapters.sql_discovery import SqlDiscoveryRepository
from src.services.strategy_engine.adapters.sql_strategy import SqlStrategyRepository
from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.discovery import DiscoveryRules
from src.services.strategy_engine.domain.fit import FitBounds
from src.services.strategy_engine.domain.gate import Gate
from src.services.strategy_engine.domain.scan.engle_granger import BY_AIC
from src.services.strategy_engine.domain.scan.funnel import FunnelBounds
from src.services.strategy_engine.use_cases.discovery import Discovery
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url


def build(settings: Settings, engine: Engine | None = None) -> StrategyEngine:
    """Wire the service on the database of the settings, or on an engine that the caller has already.

    Raises:
        Unreachable: the settings name no database and the embedded PostgreSQL does not run.
    """
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return StrategyEngine(
        store=SqlUnitOfWork(engine, SqlStrategyRepository),
        calendar=TradingCalendar(),
        thresholds=thresholds(settings.strategy),
        bounds=fit_bounds(settings.strategy),
        history_bars=settings.strategy.history_bars,
    )


def build_discovery(settings: Settings, engine: Engine | None = None) -> Discovery:
    """Wire the search for pairs.

    Raises:
        Unreachable: as `build`.
    """
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return Discovery(
        store=SqlUnitOfWork(engine, SqlDiscoveryRepository),
        registrar=build(settings, engine),
        calendar=TradingCalendar(),
        rules=discovery_rules(settings.strategy),
    )


def discovery_rules(strategy: StrategySettings) -> DiscoveryRules:
    """Read what a search for pairs goes by from the settings."""
    return DiscoveryRules(
        window_days=strategy.discovery_window_days,
        funnel=FunnelBounds(strategy.discovery_max_p_value, strategy.discovery_min_sessions, fit_bounds(strategy)),
        gate=Gate(),
        thresholds=thresholds(strategy),
        lags=strategy.discovery_max_lags_bars or BY_AIC,
        observe=strategy.discovery_observe_pairs,
        event_days=strategy.discovery_event_days,
    )


def thresholds(strategy: StrategySettings) -> Thresholds:
    """Read the thresholds of the signal from the settings."""
    return Thresholds(
        entry_z=strategy.entry_z,
        exit_z=strategy.exit_z,
        stop_z=strategy.stop_z,
        max_slot_age=timedelta(seconds=strategy.max_slot_age_seconds),
        overnight=strategy.overnight,
    )


def fit_bounds(strategy: StrategySettings) -> FitBounds:
    """Read the bounds of a fit from the settings."""
    return FitBounds(
        min_half_life=strategy.min_half_life_bars,
        max_half_life=strategy.max_half_life_bars,
        min_correlation=strategy.min_correlation,
        min_window=strategy.min_window_bars,
        max_window=strategy.max_window_bars,
        time_stop_half_lives=strategy.time_stop_half_lives,
    )
