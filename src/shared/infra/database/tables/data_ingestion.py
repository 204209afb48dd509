"""Schema `data_ingestion`: symbols, bars and their loads, what was wrong with them, and what companies announced.

`market_data` has a partition for each month, made by `data_ingestion.add_months(first, last)`.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.infra.database.tables.base import (
    METADATA,
    Moment,
    Quantity,
    finite,
    one_of,
    recorded_at,
    symbol_check,
    symbol_column,
)

symbol = Table(
    "symbol",
    METADATA,
    symbol_column(primary_key=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("exchange", String(16), nullable=False, server_default=""),
    Column("tradable", Boolean, nullable=False),
    Column("shortable", Boolean, nullable=False),
    Column("easy_to_borrow", Boolean, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("status", String(16), nullable=False, server_default="active"),
    Column("status_since", Moment),
    Column("status_reason", Text, nullable=False, server_default=""),
    symbol_check(),
    one_of("status", ["active", "inactive", "delisted"]),
    schema="data_ingestion",
)

load_run = Table(
    "load_run",
    METADATA,
    Column("load_run_id", Uuid, primary_key=True),
    Column("vendor", String(16), nullable=False),
    Column("timeframe", String(8), nullable=False),
    Column("symbols", ARRAY(String(10)), nullable=False),
    Column("window_start", Moment, nullable=False),
    Column("window_end", Moment, nullable=False),
    Column("state", String(16), nullable=False),
    Column("rows_written", Integer, nullable=False, server_default="0"),
    Column("rows_rejected", Integer, nullable=False, server_default="0"),
    Column("rows_missing", Integer, nullable=False, server_default="0"),
    Column("problems", JSONB, nullable=False, server_default="[]"),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("adjustment", String(8), nullable=False, server_default="split"),
    # Which client library, in which version, brought the rows; and a digest of the rows as they were written.
    Column("client", Text, nullable=False, server_default=""),
    Column("digest", LargeBinary),
    # What was loaded: bars, or a kind of company data, which has no time frame.
    Column("dataset", String(32), nullable=False, server_default="bars"),
    # A repair asked its vendor for nothing: its bars fill gaps of another vendor's series, and it says nothing about
    # what its own vendor has.
    one_of("state", ["running", "complete", "partial", "failed", "repaired"]),
    CheckConstraint("window_start < window_end", name="window_ordered"),
    schema="data_ingestion",
)

market_data = Table(
    "market_data",
    METADATA,
    symbol_column(),
    Column("timeframe", String(8), nullable=False),
    Column("bar_end", Moment, nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("adjustment", String(8), nullable=False),
    Column("bar_start", Moment, nullable=False),
    Column("open", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("close", Double, nullable=False),
    Column("volume", Double, nullable=False),
    # No foreign key: checking one for each row takes as long as writing the row. Who writes bars holds the load's row
    # (`BarTable.put`), and a trigger keeps a load that a bar names from being deleted.
    Column("load_run_id", Uuid, nullable=False),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "timeframe", "vendor", "adjustment", "bar_end"),
    symbol_check(),
    CheckConstraint("bar_start < bar_end", name="span_ordered"),
    # NaN sorts above every number in PostgreSQL, so an upper bound keeps it and infinity out.
    CheckConstraint(
        "low > 0 AND high < 1e9 AND low <= least(open, close) AND high >= greatest(open, close)", name="prices_sane"
    ),
    CheckConstraint("volume >= 0 AND volume < 1e15", name="volume_sane"),
    schema="data_ingestion",
    postgresql_partition_by="RANGE (bar_end)",
)

Index("ix_load_run_started_at", load_run.c.started_at)
Index("ix_load_run_symbols", load_run.c.symbols, postgresql_using="gin")

# What a bar was before its vendor restated it, or before its series was put on another price basis.
market_data_history = Table(
    "market_data_history",
    METADATA,
    symbol_column(),
    Column("timeframe", String(8), nullable=False),
    Column("bar_end", Moment, nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("adjustment", String(8), nullable=False),
    Column("bar_start", Moment, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("open", "high", "low", "close", "volume")),
    Column("load_run_id", Uuid, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("superseded_by", Uuid, nullable=False),
    Column("superseded_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("reason", String(16), nullable=False),
    symbol_check(),
    one_of("reason", ["restated", "rebased", "repaired"]),
    schema="data_ingestion",
)

Index(
    "ix_market_data_history_series",
    *(market_data_history.c[name] for name in ("symbol", "timeframe", "vendor", "adjustment", "bar_end")),
)

# When a whole series was put on another price basis. A fit on bars up to `effective_at` or before is of the old one.
series_rebase = Table(
    "series_rebase",
    METADATA,
    Column("rebase_id", Uuid, primary_key=True),
    symbol_column(),
    Column("timeframe", String(8), nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("adjustment", String(8), nullable=False),
    Column("factor", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("effective_at", Moment, nullable=False),
    Column("load_run_id", Uuid, nullable=False),
    recorded_at(),
    symbol_check(),
    CheckConstraint("factor > 0 AND factor < 1e9", name="factor_sane"),
    schema="data_ingestion",
)

Index(
    "ix_series_rebase_series",
    *(series_rebase.c[name] for name in ("symbol", "timeframe", "vendor", "adjustment", "effective_at")),
)

# Rows of vendors that were not let in, each with its reason.
data_quarantine = Table(
    "quarantine",
    METADATA,
    Column("quarantine_id", Uuid, primary_key=True),
    Column("load_run_id", Uuid, nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("dataset", String(32), nullable=False),
    symbol_column(),
    Column("timeframe", String(8)),
    Column("bar_end", Moment),
    Column("rule", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", JSONB, nullable=False),
    recorded_at(),
    symbol_check(),
    schema="data_ingestion",
)

Index("ix_quarantine_symbol", data_quarantine.c.symbol, data_quarantine.c.recorded_at)

# What was found of a series of bars; the newest row of a series and rule is in force. Append-only: a verdict that
# says the same as the one in force is not written again.
data_quality = Table(
    "data_quality",
    METADATA,
    Column("verdict_id", Uuid, primary_key=True),
    symbol_column(),
    Column("timeframe", String(8), nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("adjustment", String(8), nullable=False),
    Column("rule", String(32), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("numbers", JSONB, nullable=False, server_default="{}"),
    Column("window_start", Moment, nullable=False),
    Column("window_end", Moment, nullable=False),
    Column("judged_at", Moment, nullable=False),
    recorded_at(),
    symbol_check(),
    one_of("severity", ["info", "warning", "block"]),
    schema="data_ingestion",
)

Index(
    "ix_data_quality_series",
    *(data_quality.c[name] for name in ("symbol", "timeframe", "vendor", "adjustment", "rule", "recorded_at")),
)

# When a series was last looked at, whether or not there was anything new to say.
quality_look = Table(
    "quality_look",
    METADATA,
    symbol_column(),
    Column("timeframe", String(8), nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("adjustment", String(8), nullable=False),
    Column("looked_at", Moment, nullable=False),
    PrimaryKeyConstraint("symbol", "timeframe", "vendor", "adjustment"),
    symbol_check(),
    schema="data_ingestion",
)

corporate_action = Table(
    "corporate_action",
    METADATA,
    Column("corporate_action_id", String(64), primary_key=True),
    symbol_column(),
    Column("kind", String(16), nullable=False),
    Column("vendor_type", String(32), nullable=False),
    Column("ex_date", Date, nullable=False),
    Column("old_rate", Quantity, nullable=False),
    Column("new_rate", Quantity, nullable=False),
    Column("cash_per_share", Quantity, nullable=False),
    Column("new_symbol", String(10)),
    Column("raw", JSONB, nullable=False),
    recorded_at(),
    symbol_check(),
    symbol_check("new_symbol"),
    one_of("kind", CorporateActionKind),
    CheckConstraint("(kind = 'symbol_change') = (new_symbol IS NOT NULL)", name="new_symbol_if_changed"),
    CheckConstraint("old_rate > 0 AND new_rate > 0 AND cash_per_share >= 0", name="rates_sane"),
    finite("old_rate", "new_rate", "cash_per_share"),
    schema="data_ingestion",
)

Index("ix_corporate_action_ex_date", corporate_action.c.ex_date)
