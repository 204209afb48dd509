"""How pairs were looked for, and what became of every one of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
_NUMBERS = (
    "correlation",
    "t_statistic",
    "p_value",
    "lags",
    "reverse_p_value",
    "p_adjusted",
    "alpha",
    "beta",
    "half_life_bars",
    "mean_abs_z",
    "sharpe",
    "win_rate",
    "max_drawdown",
    "round_trips",
    "net_return",
    "score",
)


def _symbol(name: str, table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{name} ~ '^[A-Z][A-Z0-9.]{{0,9}}$'", name=op.f(f"ck_{table}_{name}_is_symbol"))


def _of_a_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id"],
        ["strategy.discovery_run.run_id"],
        name=op.f(f"fk_{table}_run_id_discovery_run"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    """Create the three tables. Grants are renewed after every migration."""
    op.create_table(
        "discovery_run",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("window_start", _MOMENT, nullable=False),
        sa.Column("window_end", _MOMENT, nullable=False),
        sa.Column("symbols", postgresql.ARRAY(sa.String(10)), nullable=False),
        sa.Column("excluded", postgresql.JSONB(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("counts", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("started_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_discovery_run")),
        sa.CheckConstraint("state IN ('running', 'stored', 'complete')", name=op.f("ck_discovery_run_state_known")),
        sa.CheckConstraint("window_start < window_end", name=op.f("ck_discovery_run_window_ordered")),
        sa.CheckConstraint(
            "(state = 'complete') = (finished_at IS NOT NULL)", name=op.f("ck_discovery_run_finished_if_complete")
        ),
        schema="strategy",
    )
    op.create_index("ix_discovery_run_window_end", "discovery_run", ["window_end"], schema="strategy")
    op.create_table(
        "discovery_scan",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("correlations", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("p_values", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("codes", sa.LargeBinary(), nullable=False),
        _of_a_run("discovery_scan"),
        sa.PrimaryKeyConstraint("run_id", "position", name=op.f("pk_discovery_scan")),
        _symbol("symbol", "discovery_scan"),
        schema="strategy",
    )
    op.create_table(
        "discovery_result",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("symbol_1", sa.String(10), nullable=False),
        sa.Column("symbol_2", sa.String(10), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("events", sa.Text()),
        sa.Column("bars", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double()) for name in _NUMBERS),
        _of_a_run("discovery_result"),
        sa.PrimaryKeyConstraint("run_id", "symbol_1", "symbol_2", name=op.f("pk_discovery_result")),
        _symbol("symbol_1", "discovery_result"),
        _symbol("symbol_2", "discovery_result"),
        sa.CheckConstraint("symbol_1 <> symbol_2", name=op.f("ck_discovery_result_two_symbols")),
        sa.CheckConstraint(
            "outcome IN ('rejected', 'candidate', 'chosen', 'observe', 'known', 'refused')",
            name=op.f("ck_discovery_result_outcome_known"),
        ),
        schema="strategy",
    )
    op.create_index("ix_discovery_result_outcome", "discovery_result", ["run_id", "outcome"], schema="strategy")


def downgrade() -> None:
    """Drop them."""
    op.drop_table("discovery_result", schema="strategy")
    op.drop_table("discovery_scan", schema="strategy")
    op.drop_table("discovery_run", schema="strategy")
