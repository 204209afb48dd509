"""A table for what can't be read, a risk state to lock, trades that a late fill reopened, the latest market time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0001"
branch_labels = None
depends_on = None

_FINISHED = "state NOT IN ('abandoned', 'closed', 'unwound')"


def upgrade() -> None:
    """Add the table and the columns, and the row that a send holds while it is committed."""
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.String(4000), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times_seen", sa.Integer(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("pk_quarantine")),
        schema="execution",
    )
    op.create_index("ix_quarantine_last_seen", "quarantine", ["last_seen"], schema="execution")
    op.add_column("writer_epoch", sa.Column("market_seen", sa.DateTime(timezone=True)), schema="execution")
    op.add_column(
        "pair_trade",
        sa.Column("reopened", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="execution",
    )
    _index_open_trades(f"{_FINISHED} AND NOT reopened")
    op.execute(
        "INSERT INTO risk.risk_state (id, state, who, why, version, since)"
        " VALUES (1, 'active', 'risk', 'never changed', 0, now()) ON CONFLICT (id) DO NOTHING"
    )


def downgrade() -> None:
    """Drop them again; a risk state that was never changed goes too."""
    op.execute("DELETE FROM risk.risk_state WHERE version = 0")
    _index_open_trades(_FINISHED)
    op.drop_column("pair_trade", "reopened", schema="execution")
    op.drop_column("writer_epoch", "market_seen", schema="execution")
    op.drop_table("quarantine", schema="execution")


def _index_open_trades(which: str) -> None:
    op.drop_index("uq_pair_trade_open", table_name="pair_trade", schema="execution")
    op.create_index(
        "uq_pair_trade_open", "pair_trade", ["pair_id"], unique=True, schema="execution", postgresql_where=which
    )
