"""What companies do: announcements, entries of the ledger that no fill made, and pairs frozen until re-based."""

# ruff: noqa: E501

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('split', 'cash_dividend', 'symbol_change', 'cash_merger', 'removal', 'other')"
_ENTRY_KINDS = (
    "kind IN ('trade', 'split', 'cash_in_lieu', 'cash_dividend', 'symbol_change', 'cash_merger', 'removal')"
)
_CAUSE = "(kind = 'trade') = (fill_id IS NOT NULL) AND (kind = 'trade') = (corporate_action_id IS NULL) AND (kind = 'trade') = (leg IS NULL)"


def upgrade() -> None:
    """Create the tables and let the ledger hold more than trades."""
    op.create_table(
        "corporate_action",
        sa.Column("corporate_action_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("vendor_type", sa.String(length=32), nullable=False),
        sa.Column("ex_date", sa.Date(), nullable=False),
        sa.Column("old_rate", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("new_rate", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("cash_per_share", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("new_symbol", sa.String(length=10), nullable=True),
        sa.Column("raw", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_corporate_action_symbol_is_symbol")),
        sa.CheckConstraint(
            "new_symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_corporate_action_new_symbol_is_symbol")
        ),
        sa.CheckConstraint(_KINDS, name=op.f("ck_corporate_action_kind_known")),
        sa.CheckConstraint(
            "(kind = 'symbol_change') = (new_symbol IS NOT NULL)",
            name=op.f("ck_corporate_action_new_symbol_if_changed"),
        ),
        sa.CheckConstraint(
            "old_rate > 0 AND new_rate > 0 AND cash_per_share >= 0", name=op.f("ck_corporate_action_rates_sane")
        ),
        sa.CheckConstraint(
            "abs(old_rate) < 1e12 AND abs(new_rate) < 1e12 AND abs(cash_per_share) < 1e12",
            name=op.f("ck_corporate_action_numbers_finite"),
        ),
        sa.PrimaryKeyConstraint("corporate_action_id", name=op.f("pk_corporate_action")),
        schema="market",
    )
    op.create_index("ix_corporate_action_ex_date", "corporate_action", ["ex_date"], unique=False, schema="market")
    op.create_table(
        "corporate_action_look",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("looked_on", sa.Date(), nullable=False),
        sa.CheckConstraint(
            "symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_corporate_action_look_symbol_is_symbol")
        ),
        sa.PrimaryKeyConstraint("account", "symbol", name=op.f("pk_corporate_action_look")),
        schema="execution",
    )
    op.create_table(
        "pair_freeze",
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("corporate_action_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_pair_freeze_symbol_is_symbol")),
        sa.CheckConstraint(_KINDS, name=op.f("ck_pair_freeze_kind_known")),
        sa.CheckConstraint(
            "(released_at IS NULL) = (released_by IS NULL)", name=op.f("ck_pair_freeze_released_by_somebody")
        ),
        sa.CheckConstraint(
            "since < effective_at AND effective_at < until", name=op.f("ck_pair_freeze_times_ordered")
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["strategy.pair_registry.pair_id"], name=op.f("fk_pair_freeze_pair_id_pair_registry")
        ),
        sa.ForeignKeyConstraint(
            ["corporate_action_id"],
            ["market.corporate_action.corporate_action_id"],
            name=op.f("fk_pair_freeze_corporate_action_id_corporate_action"),
        ),
        sa.PrimaryKeyConstraint("pair_id", "corporate_action_id", name=op.f("pk_pair_freeze")),
        schema="execution",
    )
    op.add_column(
        "ledger_entry", sa.Column("corporate_action_id", sa.String(length=64), nullable=True), schema="execution"
    )
    op.add_column("ledger_entry", sa.Column("leg", sa.Integer(), nullable=True), schema="execution")
    op.create_foreign_key(
        op.f("fk_ledger_entry_corporate_action_id_corporate_action"),
        "ledger_entry",
        "corporate_action",
        ["corporate_action_id"],
        ["corporate_action_id"],
        source_schema="execution",
        referent_schema="market",
    )
    op.create_unique_constraint(
        op.f("uq_ledger_entry_pair_trade_id_corporate_action_id_kind"),
        "ledger_entry",
        ["pair_trade_id", "corporate_action_id", "kind"],
        schema="execution",
    )
    _replace_check("ledger_entry", "kind_known", _ENTRY_KINDS)
    op.create_check_constraint(op.f("ck_ledger_entry_one_cause"), "ledger_entry", _CAUSE, schema="execution")
    op.create_check_constraint(op.f("ck_ledger_entry_leg_known"), "ledger_entry", "leg IN (1, 2)", schema="execution")
    _replace_check(
        "ledger_posting", "account_known", "account IN ('cash', 'holdings', 'exchange', 'income', 'in_lieu')"
    )


def downgrade() -> None:
    """Drop them. Entries that no fill made stand in the way, as they must: books are not rewritten."""
    _replace_check("ledger_posting", "account_known", "account IN ('cash', 'holdings', 'exchange')")
    for name in ("leg_known", "one_cause"):
        op.drop_constraint(op.f(f"ck_ledger_entry_{name}"), "ledger_entry", schema="execution", type_="check")
    _replace_check("ledger_entry", "kind_known", "kind IN ('trade')")
    op.drop_column("ledger_entry", "leg", schema="execution")
    op.drop_column("ledger_entry", "corporate_action_id", schema="execution")
    op.drop_table("pair_freeze", schema="execution")
    op.drop_table("corporate_action_look", schema="execution")
    op.drop_table("corporate_action", schema="market")


def _replace_check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, schema="execution", type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition, schema="execution")
