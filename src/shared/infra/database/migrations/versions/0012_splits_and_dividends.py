"""Splits and dividends as vendors list them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SCHEMA = "data_ingestion"
_QUANTITY = sa.Numeric(20, 9)
_IS_SYMBOL = "symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'"


def upgrade() -> None:
    """Add both tables. Grants are renewed after every migration."""
    op.create_table(
        "stock_splits",
        *_key(),
        sa.Column("old_shares", _QUANTITY, nullable=False),
        sa.Column("new_shares", _QUANTITY, nullable=False),
        *_origin("stock_splits"),
        sa.PrimaryKeyConstraint("symbol", "vendor", "ex_date", name=op.f("pk_stock_splits")),
        sa.CheckConstraint("old_shares > 0 AND new_shares > 0", name=op.f("ck_stock_splits_shares_sane")),
        sa.CheckConstraint(
            "abs(old_shares) < 1e12 AND abs(new_shares) < 1e12", name=op.f("ck_stock_splits_numbers_finite")
        ),
        schema=_SCHEMA,
    )
    op.create_table(
        "dividends",
        *_key(),
        sa.Column("kind", sa.String(16), server_default="regular", nullable=False),
        sa.Column("amount", _QUANTITY, nullable=False),
        sa.Column("currency", sa.String(3), server_default="USD", nullable=False),
        sa.Column("declared_on", sa.Date()),
        sa.Column("recorded_on", sa.Date()),
        sa.Column("paid_on", sa.Date()),
        sa.Column("times_a_year", sa.Integer()),
        *_origin("dividends"),
        sa.PrimaryKeyConstraint("symbol", "vendor", "ex_date", "kind", name=op.f("pk_dividends")),
        sa.CheckConstraint(
            "kind IN ('regular', 'special', 'long_term_gain', 'short_term_gain')",
            name=op.f("ck_dividends_kind_known"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_dividends_amount_sane")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_dividends_currency_is_code")),
        sa.CheckConstraint("times_a_year >= 0", name=op.f("ck_dividends_times_sane")),
        sa.CheckConstraint("abs(amount) < 1e12", name=op.f("ck_dividends_numbers_finite")),
        schema=_SCHEMA,
    )
    op.create_index("ix_stock_splits_ex_date", "stock_splits", ["ex_date"], schema=_SCHEMA)
    op.create_index("ix_dividends_ex_date", "dividends", ["ex_date"], schema=_SCHEMA)


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("dividends", schema=_SCHEMA)
    op.drop_table("stock_splits", schema=_SCHEMA)


def _key() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("ex_date", sa.Date(), nullable=False),
    )


def _origin(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["load_run_id"],
            [f"{_SCHEMA}.load_run.load_run_id"],
            name=op.f(f"fk_{table}_load_run_id_load_run"),
        ),
        sa.CheckConstraint(_IS_SYMBOL, name=op.f(f"ck_{table}_symbol_is_symbol")),
    )
