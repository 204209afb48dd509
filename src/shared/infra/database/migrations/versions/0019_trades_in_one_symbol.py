"""Trades in one symbol: an instance names them, they have one leg; a pair's are held to the registry as before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Of each of these `pair_id` was a foreign key: now a column that is made from it is one.
_OF_PAIRS = {"pair_signal": "strategy", "pair_trade": "execution"}
_NAMED = {**_OF_PAIRS, "risk_decision": "risk", "pair_performance": "analytics"}

_NAMED_AFTER_SYMBOL = (
    "(instance_id IS NULL) = (symbol IS NULL) AND (instance_id IS NULL OR pair_id = instance_id || ':' || symbol)"
)
_REGISTERED = "CASE WHEN instance_id IS NULL THEN pair_id ELSE NULL::character varying END"
_LEGS_KNOWN = (
    "(instance_id IS NULL AND symbol_2 IS NOT NULL AND target_1 * target_2 < 0)"
    " OR (instance_id IS NOT NULL AND starts_with(pair_id, instance_id || ':')"
    " AND symbol_2 IS NULL AND target_1 <> 0 AND target_2 = 0 AND beta = 0)"
)


def upgrade() -> None:
    """What is there are pairs: it stays as it is."""
    _widen(59)
    for table, schema in _OF_PAIRS.items():
        op.drop_constraint(f"fk_{table}_pair_id_pair_registry", table, schema=schema)
        op.add_column(table, sa.Column("instance_id", sa.String(48)), schema=schema)
        made = sa.Computed(_REGISTERED, persisted=True)
        op.add_column(table, sa.Column("registered_pair", sa.String(59), made), schema=schema)
        _refer(table, schema, "instance_id", "instance", "instance_id")
        _refer(table, schema, "registered_pair", "pair_registry", "pair_id")
    op.add_column("pair_signal", sa.Column("symbol", sa.String(10)), schema="strategy")
    op.create_check_constraint(
        op.f("ck_pair_signal_symbol_is_symbol"),
        "pair_signal",
        "symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'",
        schema="strategy",
    )
    op.create_check_constraint(
        op.f("ck_pair_signal_named_after_symbol"), "pair_signal", _NAMED_AFTER_SYMBOL, schema="strategy"
    )
    op.add_column("instance", sa.Column("trades", sa.String(8)), schema="strategy")
    op.create_check_constraint(
        op.f("ck_instance_trades_known"), "instance", "trades IN ('pairs', 'symbols', 'basket')", schema="strategy"
    )
    op.alter_column("pair_trade", "symbol_2", existing_type=sa.String(10), nullable=True, schema="execution")
    op.drop_constraint("ck_pair_trade_legs_opposed", "pair_trade", schema="execution")
    op.create_check_constraint(op.f("ck_pair_trade_legs_known"), "pair_trade", _LEGS_KNOWN, schema="execution")


def downgrade() -> None:
    """Fails where there are trades in one symbol, or signals for them: they have no place in the tables before."""
    op.drop_constraint("ck_pair_trade_legs_known", "pair_trade", schema="execution")
    op.create_check_constraint(
        op.f("ck_pair_trade_legs_opposed"), "pair_trade", "target_1 * target_2 < 0", schema="execution"
    )
    op.alter_column("pair_trade", "symbol_2", existing_type=sa.String(10), nullable=False, schema="execution")
    for name in ("named_after_symbol", "symbol_is_symbol"):
        op.drop_constraint(f"ck_pair_signal_{name}", "pair_signal", schema="strategy")
    op.drop_column("pair_signal", "symbol", schema="strategy")
    op.drop_constraint("ck_instance_trades_known", "instance", schema="strategy")
    op.drop_column("instance", "trades", schema="strategy")
    for table, schema in _OF_PAIRS.items():
        for column in ("registered_pair", "instance_id"):
            op.drop_column(table, column, schema=schema)
    _widen(21)
    for table, schema in _OF_PAIRS.items():
        _refer(table, schema, "pair_id", "pair_registry", "pair_id")


def _widen(letters: int) -> None:
    """Give names so many letters. The index on open trades is made anew, so that its text is what it was."""
    op.drop_index("uq_pair_trade_open", table_name="pair_trade", schema="execution")
    for table, schema in _NAMED.items():
        op.alter_column(table, "pair_id", type_=sa.String(letters), existing_nullable=False, schema=schema)
    op.create_index(
        "uq_pair_trade_open",
        "pair_trade",
        ["pair_id"],
        unique=True,
        schema="execution",
        postgresql_where="state NOT IN ('abandoned', 'closed', 'unwound') AND NOT reopened",
    )


def _refer(table: str, schema: str, column: str, other: str, key: str) -> None:
    op.create_foreign_key(
        op.f(f"fk_{table}_{column}_{other}"),
        table,
        other,
        [column],
        [key],
        source_schema=schema,
        referent_schema="strategy",
    )
