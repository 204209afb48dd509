"""Every setting of Tradewinds: one frozen model per component, unit in the name, meaning on the field.

A value comes from, in this order: the process environment, the file named by ``TRADEWINDS_ENV_FILE``
(default ``.env`` in the working directory), the default written here. ``describe()`` says which it was.
Use cases receive plain values; only ``bootstrap`` and ``main`` modules read this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from dotenv import dotenv_values
from pydantic import Field, FiniteFloat, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.shared.domain.errors import InputInvalid, SettingsInvalid
from src.shared.domain.retention import LEAST_RETENTION_DAYS, days_of_bars
from src.shared.domain.risk_limits import LIMIT_BOUNDS, check_together

Environment = Literal["twin", "paper", "live"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Period = Annotated[int, Field(ge=2, le=1000)]

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
DATA_STREAM_URL = "wss://stream.data.alpaca.markets"
POLYGON_URL = "https://api.polygon.io"
LIVE_ARMING_PHRASE = "trade-real-money"


class _Component(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


def _limit(name: str, default: float) -> Any:
    # One place holds bounds and meaning: what seeds a row must be what a row may hold.
    bounds = LIMIT_BOUNDS[name]
    return Field(default, ge=float(bounds.least), le=float(bounds.most), description=bounds.meaning)


class StackSettings(_Component):
    """Where state lives and on which ports the embedded servers listen."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_")

    home: Path = Field(Path(".tradewinds"), description="State folder: databases, logs, process files.")
    redis_port: int = Field(6380, ge=1, le=65535, description="Port of the embedded Redis (loopback only).")
    prefect_port: int = Field(4200, ge=1, le=65535, description="Port of the Prefect server and UI.")
    twin_port: int = Field(4100, ge=1, le=65535, description="Port of the offline twin of the vendors.")
    start_timeout_seconds: PositiveFloat = Field(90.0, description="How long a server may take to get ready.")


class DatabaseSettings(_Component):
    """PostgreSQL for trading data; empty URL means the embedded server."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_DATABASE_")

    url: SecretStr | None = Field(
        None, description="postgresql://user:password@host:port/trading_system; empty: embedded PostgreSQL."
    )
    pool_size: int = Field(5, ge=1, le=100, description="Connections a process keeps open.")
    connect_timeout_seconds: int = Field(5, ge=1, le=120, description="Wait for a connection.")
    statement_timeout_seconds: PositiveFloat = Field(60.0, description="A statement that runs longer is ended.")


class RedisSettings(_Component):
    """Redis for events; empty URL means the embedded server."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_REDIS_")

    url: SecretStr | None = Field(None, description="redis://host:port/db; empty: embedded Redis.")
    timeout_seconds: PositiveFloat = Field(2.0, description="Wait for one Redis command.")


class OrchestratorSettings(_Component):
    """The Prefect server and its workers."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_PREFECT_")

    api_url: str | None = Field(None, description="An external Prefect API, …/api; empty: the embedded server.")
    database_url: SecretStr | None = Field(
        None, description="postgresql+asyncpg://… for the Prefect server; empty: embedded PostgreSQL."
    )
    worker_query_seconds: PositiveFloat = Field(2.0, description="How often a worker asks for due runs.")
    schedules_active: bool = Field(True, description="Off: deployments are registered with their schedules paused.")
    event_window_seconds: PositiveFloat = Field(
        60.0,
        le=900.0,
        description="Events of one kind within so long share the run they start, which begins so much later.",
    )
    worker_limit: int = Field(10, ge=1, le=1000, description="Flow runs a worker runs at once, per pool.")
    worker_pools: str = Field(
        "", description="Pools that the worker of `tradewinds up` serves, with commas between; empty: all."
    )


class BrokerSettings(_Component):
    """The Alpaca account. Without keys the offline twin stands in; with keys it is Alpaca paper."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_ALPACA_")

    environment: Environment | None = Field(
        None, description="twin, paper or live; empty: paper when keys are set, else twin."
    )
    api_key: SecretStr | None = Field(None, description="Alpaca key id (paper keys start with PK, live with AK).")
    secret_key: SecretStr | None = Field(None, description="Alpaca secret key.")
    base_url: str | None = Field(None, description="Trading API; empty: the one that fits the environment.")
    data_url: str | None = Field(None, description="Market data API; empty: the one that fits the environment.")
    stream_url: str | None = Field(
        None, description="Websocket of market data; empty: the one that fits the environment and feed."
    )
    feed: Literal["iex", "sip"] = Field("iex", description="Market data feed your Alpaca plan allows.")
    live_armed: str = Field("", description=f"Must be '{LIVE_ARMING_PHRASE}' before live orders are sent.")
    connect_timeout_seconds: PositiveFloat = Field(3.0, description="Wait for a connection to Alpaca.")
    read_timeout_seconds: PositiveFloat = Field(10.0, description="Wait for an answer from Alpaca.")
    requests_per_minute: int = Field(180, ge=1, le=10000, description="Own limit; Alpaca's is 200 an account.")


class PolygonSettings(_Component):
    """Polygon.io, a second source of past bars, and of listings, splits and dividends."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_POLYGON_")

    api_key: SecretStr | None = Field(None, description="Polygon.io key; empty: not used, but for the offline twin.")
    base_url: str | None = Field(None, description="Polygon.io's API; empty: the one that fits the environment.")
    requests_per_minute: int = Field(5, ge=1, le=100_000, description="Own limit; that of your plan.")
    connect_timeout_seconds: PositiveFloat = Field(3.0, description="Wait for a connection to Polygon.io.")
    read_timeout_seconds: PositiveFloat = Field(20.0, description="Wait for an answer from Polygon.io.")
    history_days: int = Field(730, ge=1, le=36_500, description="How far back your plan goes.")


class StrategySettings(_Component):
    """Pairs rules: thresholds of the signal and the bounds of a fit."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_STRATEGY_")

    entry_z: PositiveFloat = Field(2.0, description="Enter when |z| is above this and below stop_z.")
    exit_z: PositiveFloat = Field(0.5, description="Exit when |z| is below this or its sign flipped.")
    stop_z: PositiveFloat = Field(3.0, description="Stop when z is beyond this on the losing side.")
    history_bars: int = Field(500, ge=20, le=5000, description="Finished hourly bars read for a decision.")
    min_half_life_bars: PositiveFloat = Field(5.0, description="Shortest half-life a pair may have, in bars.")
    max_half_life_bars: PositiveFloat = Field(72.0, description="Longest half-life a pair may have, in bars.")
    min_window_bars: int = Field(10, ge=3, description="Shortest z window, in bars.")
    max_window_bars: int = Field(60, ge=3, description="Longest z window, in bars.")
    time_stop_half_lives: PositiveFloat = Field(3.0, description="Expire a trade after this many half-lives.")
    min_correlation: Fraction = Field(0.70, description="Least correlation of log returns for a fit.")
    max_slot_age_seconds: PositiveFloat = Field(
        900.0, description="A cycle that starts later than this after its slot takes no entry."
    )
    overnight: bool = Field(False, description="Allow entries in the last hour before the close.")
    gate_share: float = Field(
        1 / 3, ge=0.1, le=0.6, description="Last share of the bars that a fit does not see and is judged on."
    )
    gate_least_sharpe: float = Field(
        0.5, ge=0.0, le=100.0, allow_inf_nan=False, description="A trial's Sharpe ratio a year must be above this."
    )
    gate_least_win_rate: Fraction = Field(0.45, description="A trial's share of winning trades must be above this.")
    gate_most_drawdown_fraction: float = Field(
        0.15, gt=0.0, le=0.5, allow_inf_nan=False, description="A trial's deepest fall must be below this."
    )
    gate_least_round_trips: int = Field(10, ge=5, le=1000, description="Finished trades a trial must have.")
    gate_commission_bps: float = Field(
        0.5,
        ge=0.0,
        le=100.0,
        allow_inf_nan=False,
        description="Commission and fees of a leg at each fill in a trial.",
    )
    gate_half_spread_bps: float = Field(
        2.0, ge=0.0, le=100.0, allow_inf_nan=False, description="Half of the spread of a leg at each fill in a trial."
    )
    gate_borrow_fraction_per_year: Fraction = Field(0.01, description="Fee for the short leg a year in a trial.")
    watch_bars: int = Field(20, ge=1, le=5000, description="Hours without a fault in observe before a promotion.")
    auto_promote: bool = Field(
        False, description="Let the evening's review promote watched pairs; else a person does."
    )
    record_trades: int = Field(10, ge=1, le=1000, description="Last trades of an active pair that are its record.")
    record_least_trades: int = Field(5, ge=1, le=1000, description="A shorter record demotes no pair.")
    record_least_win_rate: Fraction = Field(0.35, description="A losing record below this win rate demotes a pair.")
    retest_most_p: Fraction = Field(0.20, description="A cointegration test above this p-value demotes a pair.")
    reconcile_seconds: PositiveFloat = Field(
        10.0,
        le=300.0,
        description="How often the engine looks at the rows of instances when nobody told of a change.",
    )
    cells: int = Field(2, ge=1, le=64, description="Processes that the built-in strategies are called in.")
    call_cpu_seconds: PositiveFloat = Field(2.0, le=600.0, description="CPU that one call of a strategy may take.")
    call_seconds: PositiveFloat = Field(20.0, le=600.0, description="How long one call of a strategy may take.")
    all_calls_seconds: PositiveFloat = Field(
        60.0, le=300.0, description="How long the calls of all instances in a slot may take: pairs wait for them."
    )
    cell_megabytes: int = Field(
        512, ge=64, le=65536, description="Memory that calls may take in a process, beyond what it starts with."
    )
    fault_rest_seconds: PositiveFloat = Field(
        30.0, le=3600.0, description="How long an instance rests after a fault; twice as long after each further one."
    )
    fault_longest_rest_seconds: PositiveFloat = Field(3600.0, le=86400.0, description="The longest such rest.")
    folder: Path | None = Field(None, description="Strategy files of your own; empty: <home>/strategies.")
    workflow_folder: Path | None = Field(None, description="Templates of workflows; empty: <home>/workflows.")
    discovery_window_days: int = Field(
        252, ge=90, le=2000, description="Calendar days of bars that pairs are found in."
    )
    discovery_min_sessions: int = Field(
        60, ge=20, le=1000, description="Sessions that two symbols must have in common."
    )
    discovery_max_p_value: Fraction = Field(
        0.05, description="Highest p-value of cointegration, adjusted for everything that was tested."
    )
    discovery_lags_bars: int = Field(
        0, ge=0, le=50, description="Lags of the cointegration test; 0: chosen for each pair by Akaike's criterion."
    )
    discovery_observe_pairs: int = Field(
        5, ge=0, le=100, description="How many of the best pairs of a search are watched."
    )
    discovery_event_days: int = Field(
        14, ge=0, le=90, description="Days ahead in which announced events are flagged."
    )
    discovery_workers: int = Field(
        1, ge=1, le=64, description="Workers that scan side by side in the flow; 1: none but the flow itself."
    )
    discovery_dask_scheduler: str = Field(
        "",
        pattern=r"^((tcp|tls|ws|wss)://\S+)?$",
        description="Address of a Dask scheduler whose workers scan; empty: discovery_workers on this machine.",
    )


class RiskSettings(_Component):
    """Size and limits of a new database; afterwards `tradewinds risk set` changes them, and these do not count."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_RISK_")

    trading_enabled: bool = Field(True, description=LIMIT_BOUNDS["trading_enabled"].meaning)
    bootstrap_fraction: FiniteFloat = _limit("bootstrap_fraction", 0.02)
    kelly_min_trades: int = _limit("kelly_min_trades", 20)
    kelly_lookback_trades: int = _limit("kelly_lookback_trades", 100)
    kelly_max_fraction: FiniteFloat = _limit("kelly_max_fraction", 0.24)
    max_leg_fraction: FiniteFloat = _limit("max_leg_fraction", 0.12)
    max_ratio_error: FiniteFloat = _limit("max_ratio_error", 0.05)
    max_open_pairs: int = _limit("max_open_pairs", 10)
    max_gross_fraction: FiniteFloat = _limit("max_gross_fraction", 1.5)
    max_net_fraction: FiniteFloat = _limit("max_net_fraction", 0.5)
    max_symbol_fraction: FiniteFloat = _limit("max_symbol_fraction", 0.25)
    max_pair_fraction: FiniteFloat = _limit("max_pair_fraction", 0.25)
    max_correlation: FiniteFloat = _limit("max_correlation", 0.85)
    correlation_bars: int = _limit("correlation_bars", 140)
    max_orders_per_minute: int = _limit("max_orders_per_minute", 60)
    max_orders_per_day: int = _limit("max_orders_per_day", 500)
    max_daily_loss_fraction: FiniteFloat = _limit("max_daily_loss_fraction", 0.03)
    max_rolling_loss_fraction: FiniteFloat = _limit("max_rolling_loss_fraction", 0.05)
    rolling_loss_days: int = _limit("rolling_loss_days", 5)
    max_drawdown_fraction: FiniteFloat = _limit("max_drawdown_fraction", 0.05)
    event_days: int = _limit("event_days", 2)
    earnings_sessions: int = _limit("earnings_sessions", 1)

    def limits(self) -> dict[str, Decimal]:
        """Every limit by name; a switch is 1 or 0."""
        return {name: Decimal(str(getattr(self, name) + 0)) for name in LIMIT_BOUNDS}


class ExecutionSettings(_Component):
    """How long the two-leg machine waits, and for what."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_EXECUTION_")

    leg_deadline_seconds: PositiveFloat = Field(60.0, description="A leg not filled by then is cancelled.")
    poll_seconds: PositiveFloat = Field(0.5, description="Pause between looks at a working order.")
    unknown_lookups: int = Field(3, ge=3, description="'Not found' answers needed to believe 'not placed'.")
    unknown_window_seconds: PositiveFloat = Field(
        30.0, description="…spread over at least this long; on paper and live no less than 30 s."
    )
    writer_wait_seconds: PositiveFloat = Field(
        45.0, lt=60.0, description="How long a run waits for another one that is trading the account."
    )
    pass_wait_seconds: PositiveFloat = Field(
        240.0, lt=1800.0, description="What one run spends waiting for orders in all; a later one goes on."
    )
    max_clock_drift_seconds: PositiveFloat = Field(
        30.0, description="Host and broker this far apart, or a broker's clock that goes back so far, stop entries."
    )
    listen_quiet_seconds: PositiveFloat = Field(
        60.0, description="The listener looks at the broker's orders at least this often, whatever the stream says."
    )
    leg_tolerance: Fraction = Field(0.05, description="Deviation of the filled legs' ratio that counts as whole.")


class QualitySettings(_Component):
    """What the rules for whole series of bars let pass. A series that breaks one that blocks takes no entry."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_QUALITY_")

    window_days: int = Field(365, ge=14, le=3650, description="How far back series are judged.")
    max_missing_fraction: Fraction = Field(0.02, description="Bars of a series that may be missing, as a warning.")
    max_hole_sessions: int = Field(2, ge=1, le=60, description="A hole longer than this blocks.")
    max_stale_sessions: int = Field(1, ge=0, le=60, description="Sessions without a new bar, as a warning.")
    max_frozen_bars: int = Field(10, ge=3, le=1000, description="So many bars of one price block.")
    max_untraded_fraction: Fraction = Field(0.02, description="Bars that move without volume, as a warning.")
    max_volume_ratio: PositiveFloat = Field(100.0, description="A volume so many times the median is told.")
    min_jump_fraction: float = Field(
        0.2, ge=0.02, le=5.0, allow_inf_nan=False, description="A move of one bar that is looked at as a jump."
    )
    hole_deviations: PositiveFloat = Field(
        5.0, description="A move across a hole of so many deviations is another price basis, and blocks."
    )
    min_common_bars: int = Field(20, ge=1, le=10_000, description="Bars in common before vendors are compared.")
    max_median_basis_points: PositiveFloat = Field(25.0, description="Middle distance of two vendors' closes.")
    max_worst_basis_points: PositiveFloat = Field(300.0, description="Largest distance of two vendors' closes.")


class IndicatorSettings(_Component):
    """Technical indicators: another value of any of these has all of them worked out anew."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_INDICATORS_")

    sma_short_bars: Period = Field(20, description="Bars of the short simple average.")
    sma_medium_bars: Period = Field(50, description="Bars of the medium simple average.")
    sma_long_bars: Period = Field(200, description="Bars of the long simple average.")
    ema_short_bars: Period = Field(12, description="Bars of the short exponential average.")
    ema_long_bars: Period = Field(26, description="Bars of the long exponential average.")
    rsi_bars: Period = Field(14, description="Bars of Wilder's averages in the relative strength index.")
    macd_fast_bars: Period = Field(12, description="Bars of MACD's fast average.")
    macd_slow_bars: Period = Field(26, description="Bars of MACD's slow average.")
    macd_signal_bars: Period = Field(9, description="Bars of MACD's signal line.")
    bollinger_bars: Period = Field(20, description="Bars of the Bollinger bands.")
    bollinger_width: float = Field(
        2.0, gt=0.0, le=10.0, allow_inf_nan=False, description="Standard deviations from the mean to each band."
    )
    atr_bars: Period = Field(14, description="Bars of Wilder's average of the true range.")
    volatility_bars: Period = Field(20, description="Bars of realised volatility.")
    batch_symbols: int = Field(
        50, ge=1, le=1000, description="Symbols worked out in one transaction; bounds the memory, changes no value."
    )


class YahooSettings(_Component):
    """Yahoo Finance: where it is, how often it may be asked, and how old what it says of companies may get."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_YAHOO_")

    base_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Stands for all of Yahoo's hosts; empty: the twin's in the twin environment, else Yahoo itself.",
    )
    requests_per_minute: int = Field(60, ge=1, le=10000, description="Own limit over all processes.")
    connect_timeout_seconds: PositiveFloat = Field(5.0, description="Wait for a connection to Yahoo.")
    read_timeout_seconds: PositiveFloat = Field(20.0, description="Wait for an answer from Yahoo.")
    symbols_at_once: int = Field(4, ge=1, le=32, description="Symbols that are asked for side by side.")
    information_due_days: PositiveFloat = Field(30.0, description="Ask again who a company is after this many days.")
    officers_due_days: PositiveFloat = Field(28.0, description="Ask again for officers after this many days.")
    statistics_due_days: PositiveFloat = Field(6.0, description="Ask again for key statistics after this many days.")
    statements_due_days: PositiveFloat = Field(28.0, description="Ask again for statements after this many days.")
    holders_due_days: PositiveFloat = Field(28.0, description="Ask again for holders after this many days.")
    dividends_due_days: PositiveFloat = Field(6.0, description="Ask again for dividends and splits after these days.")
    earnings_due_days: PositiveFloat = Field(6.0, description="Ask again when a company reports after these days.")


class TwinSettings(_Component):
    """The offline twin's market and account."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_TWIN_")

    seed: int = Field(7, ge=0, description="Seed of the synthetic market and of fills.")
    bars: Path | None = Field(None, description="Parquet or csv file of bars; empty: the synthetic market.")
    clock: str = Field("wall", description="wall, or a UTC time such as 2025-03-03T15:30:05Z to stand at.")
    requests_per_minute: int = Field(200, ge=0, description="The twin's limit per account; 0 lifts it.")
    polygon_requests_per_minute: int = Field(5, ge=0, description="The twin's limit as Polygon.io; 0 lifts it.")
    equity_dollars: Decimal = Field(Decimal(100_000), gt=0, description="Opening cash of the twin's account.")


class LoggingSettings(_Component):
    """Console for people, JSON file for machines."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_LOG_")

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level shown.")
    retention_days: int = Field(30, ge=1, description="Days a rotated JSON log file is kept.")


class MaintenanceSettings(_Component):
    """What is archived and backed up, where to, and how long it is kept."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_MAINTENANCE_")

    archive_folder: Path | None = Field(None, description="Parquet files of old bars; empty: <home>/archive.")
    intraday_retention_days: int | None = Field(
        None,
        ge=LEAST_RETENTION_DAYS,
        le=36500,
        description=f"Days of intraday bars kept in the database; empty: {LEAST_RETENTION_DAYS}, or what decisions "
        "read where that is more.",
    )
    daily_retention_days: int | None = Field(
        None, ge=365, le=36500, description="Days of daily and longer bars kept in the database; empty: all."
    )
    restored_month_days: int = Field(7, ge=0, le=3650, description="Days a restored month stays in the database.")
    months_ahead: int = Field(3, ge=1, le=24, description="Months for which bars have room made ahead.")
    backup_folder: Path | None = Field(None, description="Backups; empty: <home>/backups.")
    backups_kept: int = Field(8, ge=1, le=1000, description="Backups kept that were restored for trial and held.")
    backup_timeout_seconds: PositiveFloat = Field(1800.0, description="A dump or restore that takes longer is ended.")


C = TypeVar("C", bound=_Component)


@dataclass(frozen=True)
class Settings:
    """All components, read once by a ``main`` or ``bootstrap`` module."""

    stack: StackSettings
    database: DatabaseSettings
    redis: RedisSettings
    orchestrator: OrchestratorSettings
    broker: BrokerSettings
    polygon: PolygonSettings
    strategy: StrategySettings
    risk: RiskSettings
    execution: ExecutionSettings
    quality: QualitySettings
    indicators: IndicatorSettings
    yahoo: YahooSettings
    twin: TwinSettings
    logging: LoggingSettings
    maintenance: MaintenanceSettings

    @property
    def archive_folder(self) -> Path:
        """Where old bars go."""
        return (self.maintenance.archive_folder or self.home / "archive").expanduser().resolve()

    @property
    def backup_folder(self) -> Path:
        """Where backups go."""
        return (self.maintenance.backup_folder or self.home / "backups").expanduser().resolve()

    @property
    def strategy_folder(self) -> Path:
        """Where the user's own strategy files are."""
        return (self.strategy.folder or self.home / "strategies").expanduser().resolve()

    @property
    def workflow_folder(self) -> Path:
        """Where the templates of workflows are."""
        return (self.strategy.workflow_folder or self.home / "workflows").expanduser().resolve()

    @property
    def intraday_retention_days(self) -> int:
        """Days of intraday bars kept: as set, else no fewer than decisions read."""
        needed = max(LEAST_RETENTION_DAYS, days_of_bars(self.strategy.history_bars))
        return self.maintenance.intraday_retention_days or needed

    @property
    def home(self) -> Path:
        """The state folder as an absolute path."""
        return self.stack.home.expanduser().resolve()

    @property
    def environment(self) -> Environment:
        """twin, paper or live: as set, else paper when Alpaca keys are set, else twin."""
        if self.broker.environment is not None:
            return self.broker.environment
        return "paper" if self.broker.api_key is not None else "twin"

    @property
    def broker_url(self) -> str:
        """Base URL of the trading API for this environment."""
        default = {"twin": self.twin_url, "paper": PAPER_URL, "live": LIVE_URL}[self.environment]
        return self.broker.base_url or default

    @property
    def data_url(self) -> str:
        """Base URL of the market data API for this environment."""
        return self.broker.data_url or (self.twin_url if self.environment == "twin" else DATA_URL)

    @property
    def data_stream_url(self) -> str:
        """Websocket of market data for this environment and feed."""
        if self.broker.stream_url is not None:
            return self.broker.stream_url
        is_alpaca = self.environment != "twin" and self.broker.data_url is None
        base = DATA_STREAM_URL if is_alpaca else self.data_url.replace("http", "ws", 1)
        return f"{base.rstrip('/')}/v2/{self.broker.feed}"

    @property
    def polygon_url(self) -> str:
        """Base URL of Polygon.io for this environment."""
        return self.polygon.base_url or (self.twin_url if self.environment == "twin" else POLYGON_URL)

    @property
    def twin_url(self) -> str:
        """Where the offline twin listens."""
        return f"http://127.0.0.1:{self.stack.twin_port}"

    @property
    def yahoo_url(self) -> str | None:
        """What stands for Yahoo's hosts in this environment; None: they themselves."""
        return self.yahoo.base_url or (f"{self.twin_url}/yahoo" if self.environment == "twin" else None)

    @property
    def prefect_api_url(self) -> str:
        """The Prefect API that flows, workers and commands talk to."""
        return self.orchestrator.api_url or f"http://127.0.0.1:{self.stack.prefect_port}/api"


@dataclass(frozen=True)
class SettingOrigin:
    """One setting as `tradewinds doctor` shows it: variable, shown value, where it came from, meaning."""

    variable: str
    value: str
    source: Literal["environment", "env file", "default"]
    meaning: str


def env_file() -> Path:
    """Name the file that settings are read from besides the environment."""
    return Path(os.environ.get("TRADEWINDS_ENV_FILE", ".env"))


def load_settings() -> Settings:
    """Read every component from the environment and the env file.

    Raises:
        SettingsInvalid: a value is out of its bounds or of the wrong type; the message names the variable.
    """
    settings = Settings(
        stack=_load(StackSettings),
        database=_load(DatabaseSettings),
        redis=_load(RedisSettings),
        orchestrator=_load(OrchestratorSettings),
        broker=_load(BrokerSettings),
        polygon=_load(PolygonSettings),
        strategy=_load(StrategySettings),
        risk=_load(RiskSettings),
        execution=_load(ExecutionSettings),
        quality=_load(QualitySettings),
        indicators=_load(IndicatorSettings),
        yahoo=_load(YahooSettings),
        twin=_load(TwinSettings),
        logging=_load(LoggingSettings),
        maintenance=_load(MaintenanceSettings),
    )
    _check_together(settings)
    return settings


def describe(settings: Settings) -> Iterator[SettingOrigin]:
    """Say for every setting what it is, where it came from and what it means. Secrets are masked."""
    from_file = dotenv_values(env_file()) if env_file().is_file() else {}
    for field in fields(Settings):
        component = getattr(settings, field.name)
        for name, info in type(component).model_fields.items():
            variable = f"{type(component).model_config['env_prefix']}{name}".upper()
            yield SettingOrigin(
                variable,
                _shown(getattr(component, name)),
                _source(variable, from_file),
                info.description or "",
            )


def _load(component: type[C]) -> C:
    try:
        return component(_env_file=env_file())
    except ValidationError as error:
        first = error.errors()[0]
        variable = f"{component.model_config['env_prefix']}{'_'.join(map(str, first['loc']))}".upper()
        raise SettingsInvalid(f"{variable}: {first['msg']}. Correct it in the environment or {env_file()}.") from None


def _check_together(settings: Settings) -> None:
    strategy = settings.strategy
    if not strategy.exit_z < strategy.entry_z < strategy.stop_z:
        raise SettingsInvalid(
            "TRADEWINDS_STRATEGY_EXIT_Z, _ENTRY_Z and _STOP_Z must rise in this order; "
            f"they are {strategy.exit_z}, {strategy.entry_z}, {strategy.stop_z}."
        )
    if strategy.record_least_trades > strategy.record_trades:
        raise SettingsInvalid(
            f"TRADEWINDS_STRATEGY_RECORD_LEAST_TRADES={strategy.record_least_trades} must not be above "
            f"TRADEWINDS_STRATEGY_RECORD_TRADES={strategy.record_trades}: no record would ever be long enough."
        )
    _check_rising(settings.indicators, "sma_short_bars", "sma_medium_bars", "sma_long_bars")
    _check_rising(settings.indicators, "ema_short_bars", "ema_long_bars")
    _check_rising(settings.indicators, "macd_fast_bars", "macd_slow_bars")
    if (settings.broker.api_key is None) != (settings.broker.secret_key is None):
        raise SettingsInvalid("Set both TRADEWINDS_ALPACA_API_KEY and TRADEWINDS_ALPACA_SECRET_KEY, or neither.")
    if (needed := days_of_bars(settings.strategy.history_bars)) > settings.intraday_retention_days:
        raise SettingsInvalid(
            f"TRADEWINDS_MAINTENANCE_INTRADAY_RETENTION_DAYS={settings.intraday_retention_days} is less than "
            f"decisions read: {settings.strategy.history_bars} hourly bars (TRADEWINDS_STRATEGY_HISTORY_BARS) "
            f"span up to {needed} days. Raise it to {needed}, or leave it empty."
        )
    try:
        check_together(settings.risk.limits())
    except InputInvalid as error:
        raise SettingsInvalid(f"Among the settings TRADEWINDS_RISK_…: {error}") from None


def _check_rising(component: _Component, *names: str) -> None:
    chosen = [getattr(component, name) for name in names]
    if any(earlier >= later for earlier, later in pairwise(chosen)):
        prefix = component.model_config["env_prefix"]
        variables = ", ".join(f"{prefix}{name}".upper() for name in names)
        raise SettingsInvalid(f"{variables} must rise in this order; they are {', '.join(map(str, chosen))}.")


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "set (hidden)"
    return "" if value is None else str(value)


def _source(variable: str, from_file: Mapping[str, str | None]) -> Literal["environment", "env file", "default"]:
    if os.environ.get(variable):
        return "environment"
    return "env file" if any(key.upper() == variable and value for key, value in from_file.items()) else "default"
