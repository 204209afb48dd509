"""Shares that went without an order of ours, and that a person writes off."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KINDS = ("trade", "split", "cash_in_lieu", "cash_dividend", "symbol_change", "cash_merger", "removal")
_CAUSE = "(kind = 'trade') = (fill_id IS NOT NULL) AND (kind = 'trade') = (leg IS NULL)"
_WITHOUT = (
    "(kind = 'trade') = (fill_id IS NOT NULL) AND (kind = 'trade') = (corporate_action_id IS NULL)"
    " AND (kind = 'trade') = (leg IS NULL)"
)


def upgrade() -> None:
    """Let an entry be a write-off."""
    _bound((*_KINDS, "write_off"), f"{_CAUSE} AND (kind IN ('trade', 'write_off')) = (corporate_action_id IS NULL)")


def downgrade() -> None:
    """Refuse write-offs again; fails where there are some: books are not rewritten."""
    _bound(_KINDS, _WITHOUT)


def _bound(kinds: tuple[str, ...], cause: str) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    for name, condition in (("kind_known", f"kind IN ({listed})"), ("one_cause", cause)):
        op.drop_constraint(op.f(f"ck_ledger_entry_{name}"), "ledger_entry", schema="execution")
        op.create_check_constraint(op.f(f"ck_ledger_entry_{name}"), "ledger_entry", condition, schema="execution")
