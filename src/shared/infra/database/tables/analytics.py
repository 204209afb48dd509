"""Schema `analytics`: results of finished trades, and technical indicators of bars.

The view `latest_indicators` has the newest row of every series.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.infra.database.tables.base import (
    METADATA,
    Moment,
    Money,
    finite,
    recorded_at,
    symbol_check,
    symbol_column,
)

pair_performance = Table(
    "pair_performance",
    METADATA,
    Column("pair_trade_id", Uuid, ForeignKey("execution.pair_trade.pair_trade_id"), primary_key=True),
    # As the trade names it: a pair, or `instance:SYMBOL`.
    Column("pair_id", String(59), nullable=False),
    Column("opened_slot", Moment, nullable=False),
    Column("closed_slot", Moment, nullable=False),
    Column("holding_bars", Integer, nullable=False),
    Column("gross_entry", Money, nullable=False),
    Column("realized_pnl", Money, nullable=False),
    Column("return_on_gross", Double, nullable=False),
    Column("close_reason", String(32), nullable=False),
    # Of this result, and of the trade that it was taken from: a late fill corrects both.
    Column("version", Integer, nullable=False),
    Column("trade_version", Integer, nullable=False),
    recorded_at(),
    CheckConstraint("gross_entry >= 0 AND holding_bars >= 0", name="numbers_sane"),
    finite("gross_entry", "realized_pnl", "return_on_gross"),
    schema="analytics",
)

# What the indicators of a row are: functions, periods, inputs. The id is a digest of all of it.
indicator_set = Table(
    "indicator_set",
    METADATA,
    Column("set_id", String(12), primary_key=True),
    Column("timeframe", String(8), nullable=False),
    Column("indicators", JSONB, nullable=False),
    recorded_at(),
    schema="analytics",
)

INDICATOR_COLUMNS = (
    "sma_short", "sma_medium", "sma_long", "ema_short", "ema_long", "rsi", "macd", "macd_signal", "macd_histogram",
    "bollinger_upper", "bollinger_middle", "bollinger_lower", "atr", "obv", "simple_return", "log_return",
    "realised_volatility",
)  # fmt: skip

# One row for each bar, with a column for each indicator; NULL where the series is too short for one. `set_id` names
# a row of indicator_set that is written in the same transaction; a foreign key would be checked row by row.
technical_indicators = Table(
    "technical_indicators",
    METADATA,
    symbol_column(),
    Column("timeframe", String(8), nullable=False),
    Column("bar_end", Moment, nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("adjustment", String(8), nullable=False),
    Column("set_id", String(12), nullable=False),
    # When the bar was recorded that the row was made from: a bar that was restated since has another time.
    Column("bar_recorded_at", Moment, nullable=False),
    *(Column(name, Double) for name in INDICATOR_COLUMNS),
    PrimaryKeyConstraint("symbol", "timeframe", "vendor", "adjustment", "bar_end"),
    symbol_check(),
    # NaN sorts above every number in PostgreSQL, so a bound keeps it and infinity out.
    CheckConstraint(
        f"greatest({', '.join(INDICATOR_COLUMNS)}) < 1e18 AND least({', '.join(INDICATOR_COLUMNS)}) > -1e18",
        name="numbers_finite",
    ),
    schema="analytics",
)
