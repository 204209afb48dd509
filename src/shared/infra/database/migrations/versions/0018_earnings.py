"""Days on which companies report earnings, and the limit that keeps entries away from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_SCHEMA = "data_ingestion"

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
_EARNINGS = "(name = 'earnings_sessions' AND value BETWEEN 0 AND 10 AND value = trunc(value))"


def upgrade() -> None:
    """Add the table and the limit. Grants are renewed after every migration."""
    op.create_table(
        "earnings_dates",
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("is_estimate", sa.Boolean(), nullable=False),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("symbol", "vendor", "first_day", name=op.f("pk_earnings_dates")),
        sa.ForeignKeyConstraint(
            ["load_run_id"],
            ["data_ingestion.load_run.load_run_id"],
            name=op.f("fk_earnings_dates_load_run_id_load_run"),
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_earnings_dates_symbol_is_symbol")),
        sa.CheckConstraint("first_day <= last_day", name=op.f("ck_earnings_dates_days_ordered")),
        schema=_SCHEMA,
    )
    op.create_index("ix_earnings_dates_last_day", "earnings_dates", ["last_day"], schema=_SCHEMA)
    _bound_limits(*_BOUNDS, _EARNINGS)


def downgrade() -> None:
    """Drop the table, and what was set of the limit, which no bound would allow any more."""
    op.drop_table("earnings_dates", schema=_SCHEMA)
    op.execute("ALTER TABLE risk.limit_change DISABLE TRIGGER append_only")
    op.execute("DELETE FROM risk.limit_change WHERE name = 'earnings_sessions'")
    op.execute("ALTER TABLE risk.limit_change ENABLE TRIGGER append_only")
    _bound_limits(*_BOUNDS)


def _bound_limits(*bounds: str) -> None:
    name = op.f("ck_limit_change_value_in_bounds")
    op.drop_constraint(name, "limit_change", schema="risk", type_="check")
    op.create_check_constraint(name, "limit_change", " OR ".join(bounds), schema="risk")
