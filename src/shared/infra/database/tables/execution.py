"""Schema `execution`: pair trades, order intents, fills, positions, the ledger, and pairs that are frozen."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.orders import OrderAction, OrderState
from src.shared.domain.pairs import FINISHED_TRADES, Direction, PairTradeState
from src.shared.infra.database.tables.base import (
    METADATA,
    Moment,
    Money,
    Quantity,
    finite,
    one_of,
    recorded_at,
    registered_pair,
    symbol_check,
    symbol_column,
)

_finished = ", ".join(f"'{state}'" for state in sorted(FINISHED_TRADES))

ENTRY_KINDS = (
    "trade",
    "split",
    "cash_in_lieu",
    "cash_dividend",
    "symbol_change",
    "cash_merger",
    "removal",
    "write_off",
)
WRITE_OFF = "write_off"

# A trade has two legs, those of a registered pair, or one: then an instance trades in one symbol, and `pair_id` is
# `instance:SYMBOL`, which it stays when a company changes the symbol.
pair_trade = Table(
    "pair_trade",
    METADATA,
    Column("pair_trade_id", Uuid, primary_key=True),
    Column("pair_id", String(59), nullable=False),
    Column("instance_id", String(48), ForeignKey("strategy.instance.instance_id")),
    registered_pair(),
    symbol_column("symbol_1"),
    Column("symbol_2", String(10)),
    Column("beta", Double, nullable=False),
    Column("direction", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("target_1", Quantity, nullable=False),
    Column("target_2", Quantity, nullable=False),
    Column("closed_slot", Moment),
    Column("close_reason", Text),
    Column("realized_pnl", Money),
    Column("version", Integer, nullable=False),
    # A late fill brought it back after its end: a newer trade of the pair may be open beside it.
    Column("reopened", Boolean, nullable=False, server_default=text("false")),
    recorded_at(),
    symbol_check("symbol_1"),
    symbol_check("symbol_2"),
    UniqueConstraint("pair_id", "slot"),
    one_of("state", PairTradeState),
    one_of("direction", Direction),
    CheckConstraint(
        "(instance_id IS NULL AND symbol_2 IS NOT NULL AND target_1 * target_2 < 0)"
        " OR (instance_id IS NOT NULL AND starts_with(pair_id, instance_id || ':')"
        " AND symbol_2 IS NULL AND target_1 <> 0 AND target_2 = 0 AND beta = 0)",
        name="legs_known",
    ),
    finite("beta", "target_1", "target_2", "realized_pnl"),
    schema="execution",
)

# One open trade per pair, whoever asks for a second.
Index(
    "uq_pair_trade_open",
    pair_trade.c.pair_id,
    unique=True,
    postgresql_where=f"state NOT IN ({_finished}) AND NOT reopened",
)

_quiet = ", ".join(f"'{state}'" for state in sorted({*FINISHED_TRADES, PairTradeState.OPEN}))

Index("ix_pair_trade_in_motion", pair_trade.c.recorded_at, postgresql_where=f"state NOT IN ({_quiet})")

order_intent = Table(
    "order_intent",
    METADATA,
    Column("intent_id", Uuid, primary_key=True),
    Column("client_order_id", String(48), nullable=False),
    Column("pair_trade_id", Uuid, ForeignKey("execution.pair_trade.pair_trade_id"), nullable=False),
    Column("leg", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    symbol_column(),
    Column("quantity", Quantity, nullable=False),
    Column("state", String(20), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("broker_order_id", String(64)),
    Column("filled_quantity", Quantity, nullable=False, server_default="0"),
    Column("filled_avg_price", Money),
    Column("reject_code", String(32)),
    Column("reason", Text),
    recorded_at(),
    UniqueConstraint("client_order_id"),
    UniqueConstraint("broker_order_id"),
    UniqueConstraint("pair_trade_id", "leg", "action", "attempt"),
    symbol_check(),
    CheckConstraint("leg IN (1, 2)", name="leg_known"),
    CheckConstraint("quantity <> 0 AND abs(filled_quantity) <= abs(quantity)", name="quantity_sane"),
    CheckConstraint("filled_quantity = 0 OR sign(filled_quantity) = sign(quantity)", name="fill_on_side"),
    finite("quantity", "filled_quantity", "filled_avg_price"),
    one_of("action", OrderAction),
    one_of("state", OrderState),
    schema="execution",
)

Index("ix_order_intent_trade", order_intent.c.pair_trade_id)
Index("ix_order_intent_sent_at", order_intent.c.sent_at)

fill = Table(
    "fill",
    METADATA,
    Column("fill_id", String(80), primary_key=True),
    Column("intent_id", Uuid, ForeignKey("execution.order_intent.intent_id"), nullable=False),
    Column("broker_order_id", String(64), nullable=False),
    symbol_column(),
    Column("quantity", Quantity, nullable=False),
    Column("price", Money, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    recorded_at(),
    symbol_check(),
    CheckConstraint("quantity <> 0 AND price > 0", name="fill_sane"),
    finite("quantity", "price"),
    schema="execution",
)

Index("ix_fill_intent", fill.c.intent_id)

position = Table(
    "position",
    METADATA,
    Column("pair_trade_id", Uuid, ForeignKey("execution.pair_trade.pair_trade_id"), nullable=False),
    symbol_column(),
    Column("quantity", Quantity, nullable=False),
    Column("updated_at", Moment, nullable=False),
    PrimaryKeyConstraint("pair_trade_id", "symbol"),
    symbol_check(),
    finite("quantity"),
    schema="execution",
)

# A trade that is over keeps its rows, at zero.
Index("ix_position_held", position.c.symbol, postgresql_where="quantity <> 0")

# What was held at each quarter of an hour, ours and the whole account's: history for people, read by no decision.
position_snapshot = Table(
    "position_snapshot",
    METADATA,
    Column("taken_at", Moment, nullable=False),
    symbol_column(),
    Column("ours", Quantity, nullable=False),
    Column("broker", Quantity, nullable=False),
    Column("price", Money),
    Column("unrealized_pnl", Money),
    recorded_at(),
    PrimaryKeyConstraint("taken_at", "symbol"),
    symbol_check(),
    finite("ours", "broker", "price", "unrealized_pnl"),
    schema="execution",
)

ledger_entry = Table(
    "ledger_entry",
    METADATA,
    Column("entry_id", Uuid, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("pair_trade_id", Uuid, ForeignKey("execution.pair_trade.pair_trade_id"), nullable=False),
    Column("fill_id", String(80), ForeignKey("execution.fill.fill_id"), unique=True),
    Column("corporate_action_id", String(64), ForeignKey("data_ingestion.corporate_action.corporate_action_id")),
    Column("leg", Integer),
    Column("occurred_at", Moment, nullable=False),
    recorded_at(),
    # An action is booked once for a trade; a split has its shares and, later, its cash in lieu.
    UniqueConstraint("pair_trade_id", "corporate_action_id", "kind"),
    one_of("kind", ENTRY_KINDS),
    CheckConstraint(
        "(kind = 'trade') = (fill_id IS NOT NULL) AND (kind = 'trade') = (leg IS NULL)"
        " AND (kind IN ('trade', 'write_off')) = (corporate_action_id IS NULL)",
        name="one_cause",
    ),
    CheckConstraint("leg IN (1, 2)", name="leg_known"),
    schema="execution",
)

Index("ix_ledger_entry_occurred_at", ledger_entry.c.occurred_at)

# Append-only (a trigger refuses UPDATE and DELETE); per entry and asset the amounts sum to zero (deferred trigger).
ledger_posting = Table(
    "ledger_posting",
    METADATA,
    Column("posting_id", BigInteger, Identity(always=True), primary_key=True),
    Column("entry_id", Uuid, ForeignKey("execution.ledger_entry.entry_id"), nullable=False),
    Column("account", String(32), nullable=False),
    Column("asset", String(10), nullable=False),
    Column("amount", Quantity, nullable=False),
    one_of("account", ["cash", "holdings", "exchange", "income", "in_lieu"]),
    finite("amount"),
    schema="execution",
)

Index("ix_ledger_posting_entry", ledger_posting.c.entry_id)
Index("ix_ledger_posting_holdings", ledger_posting.c.asset, postgresql_where="account = 'holdings'")
Index("ix_ledger_posting_in_lieu", ledger_posting.c.entry_id, postgresql_where="account = 'in_lieu'")

writer_epoch = Table(
    "writer_epoch",
    METADATA,
    Column("account", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("taken_at", Moment, nullable=False),
    # The latest time that the broker's clock showed: it must not go back.
    Column("market_seen", Moment),
    schema="execution",
)

# What the broker said and nobody could use: one line for each object, however often it comes.
quarantine = Table(
    "quarantine",
    METADATA,
    Column("quarantine_id", Uuid, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", String(4000), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    Column("times_seen", Integer, nullable=False),
    recorded_at(),
    schema="execution",
)

Index("ix_quarantine_last_seen", quarantine.c.last_seen)
# On which New York day the announcements about a symbol were last read for an account.
corporate_action_look = Table(
    "corporate_action_look",
    METADATA,
    Column("account", String(64), nullable=False),
    symbol_column(),
    Column("looked_on", Date, nullable=False),
    PrimaryKeyConstraint("account", "symbol"),
    symbol_check(),
    schema="execution",
)

# No entries from `since` on, until it is released or `until` has passed (NULL: until a person re-bases the pair).
pair_freeze = Table(
    "pair_freeze",
    METADATA,
    Column("pair_id", String(21), ForeignKey("strategy.pair_registry.pair_id"), nullable=False),
    Column(
        "corporate_action_id",
        String(64),
        ForeignKey("data_ingestion.corporate_action.corporate_action_id"),
        nullable=False,
    ),
    symbol_column(),
    Column("kind", String(16), nullable=False),
    Column("since", Moment, nullable=False),
    Column("effective_at", Moment, nullable=False),
    Column("until", Moment),
    Column("released_at", Moment),
    Column("released_by", Text),
    recorded_at(),
    PrimaryKeyConstraint("pair_id", "corporate_action_id"),
    symbol_check(),
    one_of("kind", CorporateActionKind),
    CheckConstraint("(released_at IS NULL) = (released_by IS NULL)", name="released_by_somebody"),
    CheckConstraint("since < effective_at AND effective_at < until", name="times_ordered"),
    schema="execution",
)
