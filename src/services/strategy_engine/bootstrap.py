"""Wire the strategy engine. Tasks, commands and tests call `build`; nothing connects before it is used."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from src.config.settings import Settings, StrategySettings
from src.services.strategy_engine.adapters.cell import Budget
from src.services.strategy_engine.adapters.cells import Cells
from src.services.strategy_engine.adapters.sql_instances import SqlInstanceRepository
from src.services.strategy_engine.adapters.sql_strategy import SqlStrategyRepository
from src.services.strategy_engine.adapters.strategy_files import StrategyFiles
from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.fit import FitBounds
from src.services.strategy_engine.domain.instances import BackOff
from src.services.strategy_engine.ports import StrategyRunner
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.use_cases.instance_slots import InstanceSlots
from src.services.strategy_engine.use_cases.instances import Instances
from src.services.strategy_engine.use_cases.rehearsal import Rehearsals
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


def strategy_loader(settings: Settings, most_seconds: float | None = None) -> Loader:
    """Wire what loads strategy files: the built-in ones and those of the user's folder."""
    return Loader(settings.strategy_folder, most_seconds)


def build_instances(settings: Settings, engine: Engine | None = None) -> Instances:
    """Wire the desk of instances.

    Raises:
        Unreachable: as `build`.
    """
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return Instances(SqlUnitOfWork(engine, SqlInstanceRepository), StrategyFiles(settings.strategy_folder))


def build_cells(settings: Settings) -> Cells:
    """Make the processes that strategies are called in; none is started before it is needed."""
    strategy = settings.strategy
    budget = Budget(strategy.call_cpu_seconds, strategy.call_seconds, strategy.cell_megabytes)
    return Cells(settings.strategy_folder, budget, strategy.cells)


def build_rehearsals(settings: Settings, folder: Path, most_seconds: float) -> Rehearsals:
    """Wire what tries strategy files of a folder. Who is done with it closes its runner."""
    strategy = settings.strategy
    budget = Budget(strategy.call_cpu_seconds, strategy.call_seconds, strategy.cell_megabytes)
    return Rehearsals(Cells(folder, budget, shared_cells=1), TradingCalendar(), time.monotonic, most_seconds)


def build_slots(settings: Settings, engine: Engine, runner: StrategyRunner) -> InstanceSlots:
    """Wire the slots of instances on processes that the caller ends."""
    strategy = settings.strategy
    return InstanceSlots(
        store=SqlUnitOfWork(engine, SqlInstanceRepository),
        runner=runner,
        calendar=TradingCalendar(),
        thresholds=thresholds(strategy),
        back_off=BackOff(
            timedelta(seconds=strategy.fault_rest_seconds), timedelta(seconds=strategy.fault_longest_rest_seconds)
        ),
        wall_clock=lambda: datetime.now(UTC),
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
