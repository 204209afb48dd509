"""Limits as rows with their history, cash flows, what the risk monitor reads, and an index on what the audit log says."""

# ruff: noqa: E501

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0003"
branch_labels = None
depends_on = None

_BOUNDS = (
    "(name = 'trading_enabled' AND value BETWEEN 0 AND 1 AND value = trunc(value))",
    "(name = 'bootstrap_fraction' AND value BETWEEN 0 AND 1)",
    "(name = 'kelly_min_trades' AND value BETWEEN 2 AND 10000 AND value = trunc(value))",
    "(name = 'kelly_lookback_trades' AND value BETWEEN 2 AND 10000 AND value = trunc(value))",
    "(name = 'kelly_max_fraction' AND value BETWEEN 0 AND 1)",
    "(name = 'max_leg_fraction' AND value BETWEEN 0 AND 1)",
    "(name = 'max_ratio_error' AND value BETWEEN 0 AND 1)",
    "(name = 'max_open_pairs' AND value BETWEEN 1 AND 1000 AND value = trunc(value))",
    "(name = 'max_gross_fraction' AND value BETWEEN 0.001 AND 4)",
    "(name = 'max_net_fraction' AND value BETWEEN 0.001 AND 4)",
    "(name = 'max_symbol_fraction' AND value BETWEEN 0.001 AND 4)",
    "(name = 'max_pair_fraction' AND value BETWEEN 0.001 AND 4)",
    "(name = 'max_correlation' AND value BETWEEN 0 AND 1)",
    "(name = 'correlation_bars' AND value BETWEEN 22 AND 5000 AND value = trunc(value))",
    "(name = 'max_orders_per_minute' AND value BETWEEN 1 AND 10000 AND value = trunc(value))",
    "(name = 'max_orders_per_day' AND value BETWEEN 1 AND 100000 AND value = trunc(value))",
    "(name = 'max_daily_loss_fraction' AND value BETWEEN 0.001 AND 1)",
    "(name = 'max_rolling_loss_fraction' AND value BETWEEN 0.001 AND 1)",
    "(name = 'rolling_loss_days' AND value BETWEEN 1 AND 90 AND value = trunc(value))",
    "(name = 'max_drawdown_fraction' AND value BETWEEN 0.001 AND 1)",
    "(name = 'event_days' AND value BETWEEN 0 AND 10 AND value = trunc(value))",
)


def upgrade() -> None:
    """Create the tables; a limit's row can only be followed by another."""
    _create_limit_change()
    _create_cash_flow()
    _create_portfolio_reading()
    op.create_index("ix_audit_log_what", "audit_log", ["what"], schema="ops")


def downgrade() -> None:
    """Drop them, with the history of the limits."""
    op.drop_index("ix_audit_log_what", table_name="audit_log", schema="ops")
    for table in ("portfolio_reading", "cash_flow", "limit_change"):
        op.drop_table(table, schema="risk")


def _create_limit_change() -> None:
    op.create_table(
        "limit_change",
        sa.Column("change_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        _recorded_at(),
        sa.CheckConstraint(" OR ".join(_BOUNDS), name=op.f("ck_limit_change_value_in_bounds")),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_limit_change")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_limit_change_name_version")),
        schema="risk",
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON risk.limit_change "
        "FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()"
    )


def _create_cash_flow() -> None:
    op.create_table(
        "cash_flow",
        sa.Column("flow_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("earliest", sa.DateTime(timezone=True), nullable=False),
        sa.Column("latest", sa.DateTime(timezone=True), nullable=False),
        _recorded_at(),
        sa.CheckConstraint("abs(amount) < 1e12", name=op.f("ck_cash_flow_numbers_finite")),
        sa.CheckConstraint("earliest <= latest", name=op.f("ck_cash_flow_window_ordered")),
        sa.PrimaryKeyConstraint("flow_id", name=op.f("pk_cash_flow")),
        schema="risk",
    )
    op.create_index("ix_cash_flow_latest", "cash_flow", ["latest"], schema="risk")


def _create_portfolio_reading() -> None:
    op.create_table(
        "portfolio_reading",
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("gross", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("net", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("numbers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        _recorded_at(),
        sa.CheckConstraint(
            "abs(equity) < 1e12 AND abs(gross) < 1e12 AND abs(net) < 1e12",
            name=op.f("ck_portfolio_reading_numbers_finite"),
        ),
        sa.PrimaryKeyConstraint("taken_at", name=op.f("pk_portfolio_reading")),
        schema="risk",
    )


def _recorded_at() -> sa.Column[Any]:
    return sa.Column(
        "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
    )
