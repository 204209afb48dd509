"""Wire the strategy engine. Tasks, commands and tests call `build`; nothing connects before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from src.config.settings import Settings, StrategySettings
from src.services.strategy_engine.adapters.cell import Budget
from src.services.strategy_engine.adapters.cells import Cells
from src.services.strategy_engine.adapters.sql_discovery import SqlDiscoveryRepository
from src.services.strategy_engine.adapters.sql_instances import SqlInstanceRepository
from src.services.strategy_engine.adapters.sql_life import SqlLifeRepository
from src.services.strategy_engine.adapters.sql_replay import SqlReplayStore
from src.services.strategy_engine.adapters.sql_strategy import SqlStrategyRepository
from src.services.strategy_engine.adapters.sql_study import SqlStudyStore
from src.services.strategy_engine.adapters.strategy_files import StrategyFiles
from src.services.strategy_engine.adapters.template_files import TomlFiles
from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.discovery import DiscoveryRules
from src.services.strategy_engine.domain.fit import FitBounds
from src.services.strategy_engine.domain.gate import Gate, GateBounds
from src.services.strategy_engine.domain.instances import BackOff
from src.services.strategy_engine.domain.life import LifeRules
from src.services.strategy_engine.domain.scan.engle_granger import BY_AIC
from src.services.strategy_engine.domain.scan.funnel import FunnelBounds
from src.services.strategy_engine.domain.trial import Costs
from src.services.strategy_engine.ports import StrategyRunner, StudyStore
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.use_cases.discovery import Discovery
from src.services.strategy_engine.use_cases.instance_slots import InstanceSlots
from src.services.strategy_engine.use_cases.instances import Instances
from src.services.strategy_engine.use_cases.life import PairLives
from src.services.strategy_engine.use_cases.rehearsal import Rehearsals
from src.services.strategy_engine.use_cases.replay import Replay
from src.services.strategy_engine.use_cases.slots import StrategyEngine
from src.services.strategy_engine.use_cases.workflows import Workflows
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.stack import trading_database_url
from src.shared.ports.unit_of_work import Work


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
        gate=gate(settings.strategy),
        life=life_rules(settings),
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
        gate=gate(strategy),
        thresholds=thresholds(strategy),
        lags=strategy.discovery_lags_bars or BY_AIC,
        observe=strategy.discovery_observe_pairs,
        event_days=strategy.discovery_event_days,
    )


def build_life(settings: Settings, engine: Engine | None = None) -> PairLives:
    """Wire what moves pairs through their lives. Raises as `build`."""
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    return PairLives(
        store=SqlUnitOfWork(engine, SqlLifeRepository),
        calendar=TradingCalendar(),
        rules=life_rules(settings),
        history_bars=settings.strategy.history_bars,
        auto_promote=settings.strategy.auto_promote,
    )


def build_workflows(settings: Settings, engine: Callable[[], Engine]) -> Workflows:
    """Wire workflows; the database is asked for when one runs, not to check a template."""

    def store() -> AbstractContextManager[Work[StudyStore]]:
        return SqlUnitOfWork[StudyStore](engine(), SqlStudyStore)()

    return Workflows(
        files=TomlFiles(),
        store=store,
        loader=strategy_loader(settings),
        calendar=TradingCalendar(),
        bounds=fit_bounds(settings.strategy),
    )


def build_replay(settings: Settings, engine: Engine) -> Replay:
    """Wire the replay of stored decisions; it needs no broker. The caller closes it."""
    return Replay(SqlUnitOfWork(engine, SqlReplayStore), TradingCalendar(), build_cells(settings))


def strategy_loader(settings: Settings, most_seconds: float | None = None) -> Loader:
    """Wire what loads strategy files: the built-in ones and those of the user's folder."""
    return Loader(settings.strategy_folder, most_seconds)


def build_instances(settings: Settings, engine: Engine | None = None) -> Instances:
    """Wire the desk of instances.

    Raises:
        Unreachable: as `build`.
    """
    engine = engine or make_engine(trading_database_url(settings), settings.database)
    files = StrategyFiles(settings.strategy_folder, lambda: build_cells(settings))
    return Instances(SqlUnitOfWork(engine, SqlInstanceRepository), files)


def build_cells(settings: Settings) -> Cells:
    """Make the processes that strategies are called in; none is started before it is needed."""
    return Cells(settings.strategy_folder, _budget(settings.strategy), settings.strategy.cells)


def _budget(strategy: StrategySettings) -> Budget:
    return Budget(
        strategy.call_cpu_seconds, strategy.call_seconds, strategy.cell_megabytes, strategy.all_calls_seconds
    )


def build_rehearsals(settings: Settings, folder: Path, most_seconds: float) -> Rehearsals:
    """Wire what tries strategy files of a folder. Who is done with it closes its runner."""
    cells = Cells(folder, _budget(settings.strategy), shared_cells=1)
    return Rehearsals(cells, TradingCalendar(), time.monotonic, most_seconds)


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


def gate(strategy: StrategySettings) -> Gate:
    """Read from the settings how fits are judged."""
    return Gate(
        share=strategy.gate_share,
        bounds=GateBounds(
            least_sharpe=strategy.gate_least_sharpe,
            least_win_rate=strategy.gate_least_win_rate,
            most_drawdown=strategy.gate_most_drawdown_fraction,
            least_round_trips=strategy.gate_least_round_trips,
        ),
        costs=Costs(
            commission_bps=strategy.gate_commission_bps,
            half_spread_bps=strategy.gate_half_spread_bps,
            borrow_per_year=strategy.gate_borrow_fraction_per_year,
        ),
    )


def life_rules(settings: Settings) -> LifeRules:
    """Read from the settings what a pair must keep; the trades of its edge are those that sizing looks back on."""
    strategy, risk = settings.strategy, settings.risk
    return LifeRules(
        watch_bars=strategy.watch_bars,
        record_trades=strategy.record_trades,
        record_least_trades=strategy.record_least_trades,
        record_least_win_rate=strategy.record_least_win_rate,
        edge_trades=risk.kelly_lookback_trades,
        edge_least_trades=risk.kelly_min_trades,
        retest_most_p=strategy.retest_most_p,
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
