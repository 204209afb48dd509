"""Every setting of Tradewinds: one frozen model per component, unit in the name, meaning on the field.

A value comes from, in this order: the process environment, the file named by ``TRADEWINDS_ENV_FILE``
(default ``.env`` in the working directory), the default written here. ``describe()`` says which it was.
Use cases receive plain values; only ``bootstrap`` and ``main`` modules read this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from src.shared.domain.errors import SettingsInvalid

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
LIVE_ARMING_PHRASE = "trade-real-money"


class _Component(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


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
    worker_limit: int = Field(10, ge=1, le=1000, description="Flow runs a worker runs at once, per pool.")


class BrokerSettings(_Component):
    """The Alpaca account. Without keys the offline twin stands in; with keys it is Alpaca paper."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_ALPACA_")

    environment: Literal["twin", "paper", "live"] | None = Field(
        None, description="twin, paper or live; empty: paper when keys are set, else twin."
    )
    api_key: SecretStr | None = Field(None, description="Alpaca key id (paper keys start with PK, live with AK).")
    secret_key: SecretStr | None = Field(None, description="Alpaca secret key.")
    base_url: str | None = Field(None, description="Trading API; empty: the one that fits the environment.")
    data_url: str | None = Field(None, description="Market data API; empty: the one that fits the environment.")
    feed: Literal["iex", "sip"] = Field("iex", description="Market data feed your Alpaca plan allows.")
    live_armed: str = Field("", description=f"Must be '{LIVE_ARMING_PHRASE}' before live orders are sent.")
    connect_timeout_seconds: PositiveFloat = Field(3.0, description="Wait for a connection to Alpaca.")
    read_timeout_seconds: PositiveFloat = Field(10.0, description="Wait for an answer from Alpaca.")
    requests_per_minute: int = Field(180, ge=1, le=10000, description="Own limit; Alpaca's is 200 an account.")


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


class RiskSettings(_Component):
    """Position size and the limits every entry must pass."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_RISK_")

    trading_enabled: bool = Field(True, description="Off: no entries at all.")
    bootstrap_fraction: Fraction = Field(0.02, description="Fraction of equity until kelly_min_trades are closed.")
    kelly_min_trades: int = Field(20, ge=2, description="Closed trades before Kelly sizing starts.")
    kelly_lookback_trades: int = Field(100, ge=2, description="Closed trades Kelly looks back on.")
    kelly_max_fraction: Fraction = Field(0.24, description="Upper clamp of the Kelly fraction.")
    max_leg_fraction: Fraction = Field(0.12, description="Cap of one leg's notional as a fraction of equity.")
    max_ratio_error: Fraction = Field(0.05, description="Most that whole shares may move the ratio from beta.")
    max_open_pairs: int = Field(10, ge=1, description="Pair trades open at once.")
    max_gross_fraction: PositiveFloat = Field(1.5, description="Gross exposure as a fraction of equity.")
    max_net_fraction: PositiveFloat = Field(0.5, description="Absolute net exposure as a fraction of equity.")
    max_symbol_fraction: PositiveFloat = Field(0.25, description="Gross in one symbol as a fraction of equity.")
    max_correlation: Fraction = Field(0.85, description="Correlation guard against legs held or just approved.")
    max_orders_per_minute: int = Field(60, ge=1, description="Orders sent in one minute.")
    max_orders_per_day: int = Field(500, ge=1, description="Orders sent in one New York day.")
    max_daily_loss_fraction: Fraction = Field(0.03, description="Loss since the day's first equity that stops entries.")
    max_drawdown_fraction: Fraction = Field(0.05, description="Drawdown from peak that halts entries.")


class ExecutionSettings(_Component):
    """How long the two-leg machine waits, and for what."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_EXECUTION_")

    leg_deadline_seconds: PositiveFloat = Field(60.0, description="A leg not filled by then is cancelled.")
    poll_seconds: PositiveFloat = Field(0.5, description="Pause between looks at a working order.")
    unknown_lookups: int = Field(3, ge=3, description="'Not found' answers needed to believe 'not placed'.")
    unknown_window_seconds: PositiveFloat = Field(30.0, description="…spread over at least this long.")
    leg_tolerance: Fraction = Field(0.05, description="Deviation of the filled legs' ratio that counts as whole.")


class TwinSettings(_Component):
    """The offline twin's market and account."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_TWIN_")

    seed: int = Field(7, ge=0, description="Seed of the synthetic market and of fills.")
    equity_dollars: Decimal = Field(Decimal(100_000), gt=0, description="Opening cash of the twin's account.")


class LoggingSettings(_Component):
    """Console for people, JSON file for machines."""

    model_config = SettingsConfigDict(env_prefix="TRADEWINDS_LOG_")

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level shown.")
    retention_days: int = Field(30, ge=1, description="Days a rotated JSON log file is kept.")
