"""Results of trades get a version, and that of their trade, so that a late fill can correct them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take what is there as the first version, from the trade as it stands."""
    for name in ("version", "trade_version"):
        op.add_column("pair_performance", sa.Column(name, sa.Integer(), nullable=True), schema="analytics")
    op.execute("""
        UPDATE analytics.pair_performance p SET version = 1, trade_version = t.version
        FROM execution.pair_trade t WHERE t.pair_trade_id = p.pair_trade_id
    """)
    for name in ("version", "trade_version"):
        op.alter_column("pair_performance", name, nullable=False, schema="analytics")


def downgrade() -> None:
    """Leave the results without their versions."""
    for name in ("trade_version", "version"):
        op.drop_column("pair_performance", name, schema="analytics")
