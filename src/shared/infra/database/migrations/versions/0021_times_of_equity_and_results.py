"""Equity of a slot has the moment at which it was read, which may be a night later; the ledger an index by time."""

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
    op.create_index("ix_ledger_entry_occurred_at", "ledger_entry", ["occurred_at"], schema="execution")


def downgrade() -> None:
    """Equity is of its slot again."""
    op.drop_index("ix_ledger_entry_occurred_at", table_name="ledger_entry", schema="execution")
    op.drop_column("equity_point", "taken_at", schema="risk")
