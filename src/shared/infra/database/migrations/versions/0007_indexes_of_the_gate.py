"""Indexes for what every gate, step and review reads, so that its cost follows what is open and not all there was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INDEXES: tuple[tuple[str, str, str, str | None], ...] = (
    (
        "ix_pair_trade_in_motion",
        "pair_trade",
        "recorded_at",
        "state NOT IN ('abandoned', 'closed', 'open', 'unwound')",
    ),
    ("ix_order_intent_sent_at", "order_intent", "sent_at", None),
    ("ix_fill_intent", "fill", "intent_id", None),
    ("ix_position_held", "position", "symbol", "quantity <> 0"),
    ("ix_ledger_posting_holdings", "ledger_posting", "asset", "account = 'holdings'"),
    ("ix_ledger_posting_in_lieu", "ledger_posting", "entry_id", "account = 'in_lieu'"),
)


def upgrade() -> None:
    """Create them."""
    for name, table, column, which in _INDEXES:
        where = None if which is None else sa.text(which)
        op.create_index(name, table, [column], schema="execution", postgresql_where=where)


def downgrade() -> None:
    """Drop them."""
    for name, table, _, _ in _INDEXES:
        op.drop_index(name, table_name=table, schema="execution")
