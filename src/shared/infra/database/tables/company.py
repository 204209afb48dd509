"""Schema `data_ingestion`, what vendors know of companies: splits and dividends."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Uuid,
)

from src.shared.infra.database.tables.base import (
    METADATA,
    Quantity,
    finite,
    one_of,
    recorded_at,
    symbol_check,
    symbol_column,
)

DIVIDEND_KINDS = ("regular", "special", "long_term_gain", "short_term_gain")


def _load_run() -> Column[object]:
    return Column("load_run_id", Uuid, ForeignKey("data_ingestion.load_run.load_run_id"), nullable=False)


# From ex_date on, old_shares are new_shares: 1 and 3 for three for one.
stock_splits = Table(
    "stock_splits",
    METADATA,
    symbol_column(),
    Column("vendor", String(16), nullable=False),
    Column("ex_date", Date, nullable=False),
    Column("old_shares", Quantity, nullable=False),
    Column("new_shares", Quantity, nullable=False),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "vendor", "ex_date"),
    symbol_check(),
    CheckConstraint("old_shares > 0 AND new_shares > 0", name="shares_sane"),
    finite("old_shares", "new_shares"),
    schema="data_ingestion",
)

# Cash a share.
dividends = Table(
    "dividends",
    METADATA,
    symbol_column(),
    Column("vendor", String(16), nullable=False),
    Column("ex_date", Date, nullable=False),
    Column("kind", String(16), nullable=False, server_default="regular"),
    Column("amount", Quantity, nullable=False),
    Column("currency", String(3), nullable=False, server_default="USD"),
    Column("declared_on", Date),
    Column("recorded_on", Date),
    Column("paid_on", Date),
    Column("times_a_year", Integer),
    _load_run(),
    recorded_at(),
    PrimaryKeyConstraint("symbol", "vendor", "ex_date", "kind"),
    symbol_check(),
    one_of("kind", DIVIDEND_KINDS),
    CheckConstraint("amount > 0", name="amount_sane"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_code"),
    CheckConstraint("times_a_year >= 0", name="times_sane"),
    finite("amount"),
    schema="data_ingestion",
)

Index("ix_stock_splits_ex_date", stock_splits.c.ex_date)
Index("ix_dividends_ex_date", dividends.c.ex_date)
