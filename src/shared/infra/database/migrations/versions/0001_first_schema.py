"""The six schemas with their tables, and the triggers that keep the books honest."""

# ruff: noqa: E501

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SCHEMAS = ("market", "strategy", "risk", "execution", "analytics", "ops")
_APPEND_ONLY = ("execution.fill", "execution.ledger_entry", "execution.ledger_posting", "ops.audit_log")

_REFUSE_CHANGE = """
CREATE FUNCTION ops.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""

_CHECK_LEDGER = """
CREATE FUNCTION execution.check_ledger_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced record;
BEGIN
    SELECT asset, sum(amount) AS total INTO unbalanced
    FROM execution.ledger_posting WHERE entry_id = NEW.entry_id
    GROUP BY asset HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger entry % does not balance: % sums to %', NEW.entry_id, unbalanced.asset, unbalanced.total
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""

# The check waits for the end of the transaction: an entry is written posting by posting.
_LEDGER_TRIGGER = """
CREATE CONSTRAINT TRIGGER ledger_balances AFTER INSERT ON execution.ledger_posting
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION execution.check_ledger_balance()
"""

_WAKE_RELAY = """
CREATE FUNCTION ops.wake_relay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tradewinds_outbox', '');
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Create everything. `ops` exists already: it holds Alembic's own table."""
    for schema in _SCHEMAS:
        op.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    _create_market()
    _create_strategy()
    _create_risk()
    _create_execution()
    _create_analytics()
    _create_ops()
    _create_triggers()


def downgrade() -> None:
    """Drop everything but `ops.alembic_version`, data included."""
    for schema in ("analytics", "execution", "risk", "strategy", "market"):
        op.execute(f"DROP SCHEMA {schema} CASCADE")
    for table in ("outbox", "consumer_position", "consumed_event", "alert", "audit_log", "environment"):
        op.drop_table(table, schema="ops")
    op.execute("DROP FUNCTION ops.refuse_change()")
    op.execute("DROP FUNCTION ops.wake_relay()")


def _create_triggers() -> None:
    op.execute(_CHECK_LEDGER)
    op.execute(_LEDGER_TRIGGER)
    op.execute(_REFUSE_CHANGE)
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()"
        )
    op.execute(_WAKE_RELAY)
    op.execute(
        "CREATE TRIGGER wake_relay AFTER INSERT ON ops.outbox FOR EACH STATEMENT EXECUTE FUNCTION ops.wake_relay()"
    )


def _create_market() -> None:
    op.create_table(
        "load_run",
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column("vendor", sa.String(length=16), nullable=False),
        sa.Column("timeframe", sa.String(length=8), nullable=False),
        sa.Column("symbols", postgresql.ARRAY(sa.String(length=10)), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rows_written", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_missing", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problems", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'complete', 'partial', 'failed')", name=op.f("ck_load_run_state_known")
        ),
        sa.CheckConstraint("window_start < window_end", name=op.f("ck_load_run_window_ordered")),
        sa.PrimaryKeyConstraint("load_run_id", name=op.f("pk_load_run")),
        schema="market",
    )
    op.create_table(
        "symbol",
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("exchange", sa.String(length=16), server_default="", nullable=False),
        sa.Column("tradable", sa.Boolean(), nullable=False),
        sa.Column("shortable", sa.Boolean(), nullable=False),
        sa.Column("easy_to_borrow", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_symbol_symbol_is_symbol")),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_symbol")),
        schema="market",
    )
    op.create_table(
        "market_data",
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("timeframe", sa.String(length=8), nullable=False),
        sa.Column("bar_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("vendor", sa.String(length=16), nullable=False),
        sa.Column("adjustment", sa.String(length=8), nullable=False),
        sa.Column("bar_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("load_run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_market_data_symbol_is_symbol")),
        sa.CheckConstraint("bar_start < bar_end", name=op.f("ck_market_data_span_ordered")),
        sa.CheckConstraint(
            "low > 0 AND high < 1e9 AND low <= least(open, close) AND high >= greatest(open, close)",
            name=op.f("ck_market_data_prices_sane"),
        ),
        sa.CheckConstraint("volume >= 0 AND volume < 1e15", name=op.f("ck_market_data_volume_sane")),
        sa.ForeignKeyConstraint(
            ["load_run_id"], ["market.load_run.load_run_id"], name=op.f("fk_market_data_load_run_id_load_run")
        ),
        sa.PrimaryKeyConstraint(
            "symbol", "timeframe", "vendor", "adjustment", "bar_end", name=op.f("pk_market_data")
        ),
        schema="market",
    )
    op.create_index("ix_market_data_bar_end", "market_data", ["bar_end"], unique=False, schema="market")


def _create_strategy() -> None:
    op.create_table(
        "pair_registry",
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("symbol_1", sa.String(length=10), nullable=False),
        sa.Column("symbol_2", sa.String(length=10), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("beta", sa.Double(), nullable=False),
        sa.Column("half_life_bars", sa.Double(), nullable=False),
        sa.Column("z_window_bars", sa.Integer(), nullable=False),
        sa.Column("time_stop_bars", sa.Integer(), nullable=False),
        sa.Column("correlation", sa.Double(), nullable=False),
        sa.Column("fitted_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fitted_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gate_passed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "mode IN ('candidate', 'observe', 'active', 'closing', 'retired')",
            name=op.f("ck_pair_registry_mode_known"),
        ),
        sa.CheckConstraint("pair_id = symbol_1 || '/' || symbol_2", name=op.f("ck_pair_registry_named_after_legs")),
        sa.CheckConstraint("symbol_1 ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_pair_registry_symbol_1_is_symbol")),
        sa.CheckConstraint("symbol_2 ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_pair_registry_symbol_2_is_symbol")),
        sa.CheckConstraint("abs(alpha) < 1e6 AND beta > 0 AND beta < 100", name=op.f("ck_pair_registry_fit_sane")),
        sa.CheckConstraint("correlation BETWEEN -1 AND 1", name=op.f("ck_pair_registry_correlation_sane")),
        sa.CheckConstraint(
            "half_life_bars > 0 AND half_life_bars < 1e4", name=op.f("ck_pair_registry_half_life_sane")
        ),
        sa.CheckConstraint("symbol_1 <> symbol_2", name=op.f("ck_pair_registry_two_symbols")),
        sa.CheckConstraint(
            "z_window_bars BETWEEN 3 AND 5000 AND time_stop_bars BETWEEN 1 AND 50000",
            name=op.f("ck_pair_registry_windows_sane"),
        ),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_pair_registry")),
        schema="strategy",
    )
    op.create_table(
        "pair_signal",
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("pair_mode", sa.String(length=16), nullable=False),
        sa.Column("held_bars", sa.Integer(), nullable=True),
        sa.Column("numbers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "action IN ('enter_long', 'enter_short', 'stop', 'expire', 'exit', 'hold', 'stay_out', 'no_decision')",
            name=op.f("ck_pair_signal_action_known"),
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["strategy.pair_registry.pair_id"], name=op.f("fk_pair_signal_pair_id_pair_registry")
        ),
        sa.PrimaryKeyConstraint("signal_id", name=op.f("pk_pair_signal")),
        sa.UniqueConstraint("pair_id", "slot", name=op.f("uq_pair_signal_pair_id_slot")),
        schema="strategy",
    )
    op.create_index("ix_pair_signal_slot", "pair_signal", ["slot"], unique=False, schema="strategy")
    op.create_index(
        "ix_pair_signal_stop",
        "pair_signal",
        ["pair_id", "slot"],
        unique=False,
        schema="strategy",
        postgresql_where="action = 'stop'",
    )
    op.create_table(
        "pair_spread",
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price_1", sa.Double(), nullable=False),
        sa.Column("price_2", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("sd", sa.Double(), nullable=False),
        sa.Column("z", sa.Double(), nullable=False),
        sa.Column("window_bars", sa.Integer(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "abs(price_1) < 1e12 AND abs(price_2) < 1e12 AND abs(spread) < 1e12 AND abs(mean) < 1e12 AND abs(sd) < 1e12 AND abs(z) < 1e12",
            name=op.f("ck_pair_spread_numbers_finite"),
        ),
        sa.CheckConstraint("price_1 > 0 AND price_2 > 0 AND sd >= 0", name=op.f("ck_pair_spread_reading_sane")),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["strategy.pair_registry.pair_id"], name=op.f("fk_pair_spread_pair_id_pair_registry")
        ),
        sa.PrimaryKeyConstraint("pair_id", "slot", name=op.f("pk_pair_spread")),
        schema="strategy",
    )


def _create_risk() -> None:
    op.create_table(
        "equity_point",
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("cash", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("buying_power", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "abs(equity) < 1e12 AND abs(cash) < 1e12 AND abs(buying_power) < 1e12",
            name=op.f("ck_equity_point_numbers_finite"),
        ),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_equity_point")),
        schema="risk",
    )
    op.create_table(
        "risk_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'reducing', 'halted')", name=op.f("ck_risk_state_state_known")),
        sa.CheckConstraint("id = 1", name=op.f("ck_risk_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_state")),
        schema="risk",
    )
    op.create_table(
        "risk_decision",
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=False),
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("quantity_1", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("quantity_2", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("numbers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("approved = (code = 'APPROVED')", name=op.f("ck_risk_decision_code_agrees")),
        sa.CheckConstraint(
            "abs(quantity_1) < 1e12 AND abs(quantity_2) < 1e12", name=op.f("ck_risk_decision_numbers_finite")
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["strategy.pair_signal.signal_id"], name=op.f("fk_risk_decision_signal_id_pair_signal")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_risk_decision")),
        sa.UniqueConstraint("pair_id", "slot", name=op.f("uq_risk_decision_pair_id_slot")),
        sa.UniqueConstraint("signal_id", name=op.f("uq_risk_decision_signal_id")),
        schema="risk",
    )


def _create_execution() -> None:
    op.create_table(
        "writer_epoch",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_writer_epoch")),
        schema="execution",
    )
    op.create_table(
        "pair_trade",
        sa.Column("pair_trade_id", sa.Uuid(), nullable=False),
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("symbol_1", sa.String(length=10), nullable=False),
        sa.Column("symbol_2", sa.String(length=10), nullable=False),
        sa.Column("beta", sa.Double(), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("target_1", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("target_2", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("closed_slot", sa.DateTime(timezone=True), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("realized_pnl", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "direction IN ('long_spread', 'short_spread')", name=op.f("ck_pair_trade_direction_known")
        ),
        sa.CheckConstraint(
            "state IN ('opening', 'open', 'closing', 'closed', 'unwinding', 'unwound', 'abandoned', 'orphaned')",
            name=op.f("ck_pair_trade_state_known"),
        ),
        sa.CheckConstraint("symbol_1 ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_pair_trade_symbol_1_is_symbol")),
        sa.CheckConstraint("symbol_2 ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_pair_trade_symbol_2_is_symbol")),
        sa.CheckConstraint(
            "abs(beta) < 1e12 AND abs(target_1) < 1e12 AND abs(target_2) < 1e12 AND abs(realized_pnl) < 1e12",
            name=op.f("ck_pair_trade_numbers_finite"),
        ),
        sa.CheckConstraint("target_1 * target_2 < 0", name=op.f("ck_pair_trade_legs_opposed")),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["strategy.pair_registry.pair_id"], name=op.f("fk_pair_trade_pair_id_pair_registry")
        ),
        sa.PrimaryKeyConstraint("pair_trade_id", name=op.f("pk_pair_trade")),
        sa.UniqueConstraint("pair_id", "slot", name=op.f("uq_pair_trade_pair_id_slot")),
        schema="execution",
    )
    op.create_index(
        "uq_pair_trade_open",
        "pair_trade",
        ["pair_id"],
        unique=True,
        schema="execution",
        postgresql_where="state NOT IN ('abandoned', 'closed', 'unwound')",
    )
    op.create_table(
        "order_intent",
        sa.Column("intent_id", sa.Uuid(), nullable=False),
        sa.Column("client_order_id", sa.String(length=48), nullable=False),
        sa.Column("pair_trade_id", sa.Uuid(), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("broker_order_id", sa.String(length=64), nullable=True),
        sa.Column("filled_quantity", sa.Numeric(precision=20, scale=9), server_default="0", nullable=False),
        sa.Column("filled_avg_price", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("reject_code", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("action IN ('open', 'close', 'unwind')", name=op.f("ck_order_intent_action_known")),
        sa.CheckConstraint(
            "state IN ('planned', 'sending', 'acked', 'rejected', 'unknown', 'working', 'partially_filled', 'filled', 'canceled', 'expired')",
            name=op.f("ck_order_intent_state_known"),
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_order_intent_symbol_is_symbol")),
        sa.CheckConstraint(
            "abs(quantity) < 1e12 AND abs(filled_quantity) < 1e12 AND abs(filled_avg_price) < 1e12",
            name=op.f("ck_order_intent_numbers_finite"),
        ),
        sa.CheckConstraint(
            "filled_quantity = 0 OR sign(filled_quantity) = sign(quantity)", name=op.f("ck_order_intent_fill_on_side")
        ),
        sa.CheckConstraint("leg IN (1, 2)", name=op.f("ck_order_intent_leg_known")),
        sa.CheckConstraint(
            "quantity <> 0 AND abs(filled_quantity) <= abs(quantity)", name=op.f("ck_order_intent_quantity_sane")
        ),
        sa.ForeignKeyConstraint(
            ["pair_trade_id"],
            ["execution.pair_trade.pair_trade_id"],
            name=op.f("fk_order_intent_pair_trade_id_pair_trade"),
        ),
        sa.PrimaryKeyConstraint("intent_id", name=op.f("pk_order_intent")),
        sa.UniqueConstraint("broker_order_id", name=op.f("uq_order_intent_broker_order_id")),
        sa.UniqueConstraint("client_order_id", name=op.f("uq_order_intent_client_order_id")),
        sa.UniqueConstraint(
            "pair_trade_id", "leg", "action", "attempt", name=op.f("uq_order_intent_pair_trade_id_leg_action_attempt")
        ),
        schema="execution",
    )
    op.create_index("ix_order_intent_trade", "order_intent", ["pair_trade_id"], unique=False, schema="execution")
    op.create_table(
        "position",
        sa.Column("pair_trade_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_position_symbol_is_symbol")),
        sa.CheckConstraint("abs(quantity) < 1e12", name=op.f("ck_position_numbers_finite")),
        sa.ForeignKeyConstraint(
            ["pair_trade_id"],
            ["execution.pair_trade.pair_trade_id"],
            name=op.f("fk_position_pair_trade_id_pair_trade"),
        ),
        sa.PrimaryKeyConstraint("pair_trade_id", "symbol", name=op.f("pk_position")),
        schema="execution",
    )
    op.create_table(
        "fill",
        sa.Column("fill_id", sa.String(length=80), nullable=False),
        sa.Column("intent_id", sa.Uuid(), nullable=False),
        sa.Column("broker_order_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=10), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.Column("price", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_fill_symbol_is_symbol")),
        sa.CheckConstraint("abs(quantity) < 1e12 AND abs(price) < 1e12", name=op.f("ck_fill_numbers_finite")),
        sa.CheckConstraint("quantity <> 0 AND price > 0", name=op.f("ck_fill_fill_sane")),
        sa.ForeignKeyConstraint(
            ["intent_id"], ["execution.order_intent.intent_id"], name=op.f("fk_fill_intent_id_order_intent")
        ),
        sa.PrimaryKeyConstraint("fill_id", name=op.f("pk_fill")),
        schema="execution",
    )
    op.create_table(
        "ledger_entry",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("pair_trade_id", sa.Uuid(), nullable=False),
        sa.Column("fill_id", sa.String(length=80), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('trade')", name=op.f("ck_ledger_entry_kind_known")),
        sa.ForeignKeyConstraint(["fill_id"], ["execution.fill.fill_id"], name=op.f("fk_ledger_entry_fill_id_fill")),
        sa.ForeignKeyConstraint(
            ["pair_trade_id"],
            ["execution.pair_trade.pair_trade_id"],
            name=op.f("fk_ledger_entry_pair_trade_id_pair_trade"),
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("fill_id", name=op.f("uq_ledger_entry_fill_id")),
        schema="execution",
    )
    op.create_table(
        "ledger_posting",
        sa.Column("posting_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("asset", sa.String(length=10), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=9), nullable=False),
        sa.CheckConstraint(
            "account IN ('cash', 'holdings', 'exchange')", name=op.f("ck_ledger_posting_account_known")
        ),
        sa.CheckConstraint("abs(amount) < 1e12", name=op.f("ck_ledger_posting_numbers_finite")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["execution.ledger_entry.entry_id"], name=op.f("fk_ledger_posting_entry_id_ledger_entry")
        ),
        sa.PrimaryKeyConstraint("posting_id", name=op.f("pk_ledger_posting")),
        schema="execution",
    )
    op.create_index("ix_ledger_posting_entry", "ledger_posting", ["entry_id"], unique=False, schema="execution")


def _create_analytics() -> None:
    op.create_table(
        "pair_performance",
        sa.Column("pair_trade_id", sa.Uuid(), nullable=False),
        sa.Column("pair_id", sa.String(length=21), nullable=False),
        sa.Column("opened_slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("holding_bars", sa.Integer(), nullable=False),
        sa.Column("gross_entry", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("realized_pnl", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("return_on_gross", sa.Double(), nullable=False),
        sa.Column("close_reason", sa.String(length=32), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "abs(gross_entry) < 1e12 AND abs(realized_pnl) < 1e12 AND abs(return_on_gross) < 1e12",
            name=op.f("ck_pair_performance_numbers_finite"),
        ),
        sa.CheckConstraint("gross_entry >= 0 AND holding_bars >= 0", name=op.f("ck_pair_performance_numbers_sane")),
        sa.ForeignKeyConstraint(
            ["pair_trade_id"],
            ["execution.pair_trade.pair_trade_id"],
            name=op.f("fk_pair_performance_pair_trade_id_pair_trade"),
        ),
        sa.PrimaryKeyConstraint("pair_trade_id", name=op.f("pk_pair_performance")),
        schema="analytics",
    )


def _create_ops() -> None:
    op.create_table(
        "alert",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'error', 'critical')", name=op.f("ck_alert_severity_known")
        ),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alert")),
        schema="ops",
    )
    op.create_table(
        "audit_log",
        sa.Column("audit_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("numbers", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit_log")),
        schema="ops",
    )
    op.create_table(
        "consumed_event",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("consumer", "event_id", name=op.f("pk_consumed_event")),
        schema="ops",
    )
    op.create_table(
        "consumer_position",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_consumer_position")),
        schema="ops",
    )
    op.create_table(
        "environment",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("environment IN ('twin', 'paper', 'live')", name=op.f("ck_environment_environment_known")),
        sa.CheckConstraint("id = 1", name=op.f("ck_environment_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment")),
        schema="ops",
    )
    op.create_table(
        "outbox",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("aggregate", sa.String(length=32), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("aggregate_version", sa.Integer(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_outbox")),
        sa.UniqueConstraint(
            "aggregate",
            "aggregate_id",
            "aggregate_version",
            name=op.f("uq_outbox_aggregate_aggregate_id_aggregate_version"),
        ),
        sa.UniqueConstraint("position", name=op.f("uq_outbox_position")),
        schema="ops",
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["recorded_at"],
        unique=False,
        schema="ops",
        postgresql_where="published_at IS NULL",
    )
