"""Positions at every quarter of an hour, so that what was held and what it was worth has a history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. Grants are renewed after every migration."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "position_snapshot",
        sa.Column("taken_at", moment, nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("ours", sa.Numeric(20, 9), nullable=False),
        sa.Column("broker", sa.Numeric(20, 9), nullable=False),
        sa.Column("price", sa.Numeric(20, 6)),
        sa.Column("unrealized_pnl", sa.Numeric(20, 6)),
        sa.Column("recorded_at", moment, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("taken_at", "symbol", name=op.f("pk_position_snapshot")),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_position_snapshot_symbol_is_symbol")),
        sa.CheckConstraint(
            "abs(ours) < 1e12 AND abs(broker) < 1e12 AND abs(price) < 1e12 AND abs(unrealized_pnl) < 1e12",
            name=op.f("ck_position_snapshot_numbers_finite"),
        ),
        schema="execution",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("position_snapshot", schema="execution")
