"""Equity of a slot with the moment at which it was read: the slot's own time may be minutes, or a night, before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is there counted as read at its slot, and goes on to."""
    op.add_column("equity_point", sa.Column("taken_at", sa.DateTime(timezone=True)), schema="risk")
    op.execute("UPDATE risk.equity_point SET taken_at = slot")
    op.alter_column(
        "equity_point", "taken_at", existing_type=sa.DateTime(timezone=True), nullable=False, schema="risk"
    )


def downgrade() -> None:
    """Equity is of its slot again."""
    op.drop_column("equity_point", "taken_at", schema="risk")
