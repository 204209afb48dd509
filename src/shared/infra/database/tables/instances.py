"""Schema `strategy`: instances of strategies, their state, what they decided and how they failed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.domain.instances import INSTANCE_PATTERN, FaultKind, InstanceMode
from src.shared.infra.database.tables.base import METADATA, Moment, one_of, recorded_at

# The desired state. A trigger keeps id, strategy, account and market from changing and rows from being deleted,
# writes every config into `instance_config`, and tells the engine of each change.
instance = Table(
    "instance",
    METADATA,
    Column("instance_id", String(48), primary_key=True),
    Column("strategy", String(64), nullable=False),
    Column("account", String(64), nullable=False),
    Column("market", String(8), nullable=False),
    Column("config", JSONB, nullable=False),
    Column("config_version", Integer, nullable=False, server_default="1"),
    # What its strategy asked for when it was made or last switched: by it people's own strategies decide about pairs.
    Column("trades", String(8)),
    Column("mode", String(8), nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("updated_at", Moment, nullable=False),
    # The name of an instance that is gone is not given again: its decisions are kept under it.
    Column("deleted_at", Moment),
    recorded_at(),
    CheckConstraint(f"instance_id ~ '{INSTANCE_PATTERN}'", name="id_is_name"),
    CheckConstraint("jsonb_typeof(config) = 'object'", name="config_is_object"),
    CheckConstraint("config_version > 0", name="version_counts"),
    CheckConstraint("deleted_at IS NULL OR mode = 'off'", name="gone_is_off"),
    one_of("mode", InstanceMode),
    one_of("trades", ["pairs", "symbols", "basket"]),
    schema="strategy",
)

# Append-only: every config an instance has had.
instance_config = Table(
    "instance_config",
    METADATA,
    Column("instance_id", String(48), ForeignKey("strategy.instance.instance_id"), nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("config", JSONB, nullable=False),
    recorded_at(),
    PrimaryKeyConstraint("instance_id", "config_version"),
    schema="strategy",
)

# What an instance remembers, as its last call left it. `slot` is the last one it decided in; `held` is what it holds
# or, in observe, what it would hold had all that it asked for been done.
instance_state = Table(
    "instance_state",
    METADATA,
    Column("instance_id", String(48), ForeignKey("strategy.instance.instance_id"), primary_key=True),
    Column("state", JSONB, nullable=False),
    Column("held", JSONB, nullable=False),
    Column("strategy_digest", String(64), nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("slot", Moment),
    Column("updated_at", Moment, nullable=False),
    schema="strategy",
)

# Append-only: one decision of an instance in a slot, with all it was taken from but the bars.
instance_decision = Table(
    "instance_decision",
    METADATA,
    Column("instance_id", String(48), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("mode", String(8), nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("strategy_digest", String(64), nullable=False),
    # NULL where this was the first call under this config: the state was made by `init`.
    Column("state_before", JSONB),
    Column("state_digest", String(64), nullable=False),
    Column("bars_digest", String(64), nullable=False),
    # What else it knew: the broker's time, the market's close, what it held, its pairs, ticks since the bar.
    Column("given", JSONB, nullable=False),
    Column("wishes", JSONB, nullable=False),
    Column("numbers", JSONB, nullable=False),
    Column("log", JSONB, nullable=False),
    recorded_at(),
    PrimaryKeyConstraint("instance_id", "slot"),
    ForeignKeyConstraint(
        ["instance_id", "config_version"],
        ["strategy.instance_config.instance_id", "strategy.instance_config.config_version"],
    ),
    one_of("mode", [InstanceMode.OBSERVE, InstanceMode.ACTIVE]),
    schema="strategy",
)

Index("ix_instance_decision_slot", instance_decision.c.slot)

# Append-only. `in_a_row` counts the faults since a call went well; the instance rests until `back_off_until`.
instance_fault = Table(
    "instance_fault",
    METADATA,
    Column("fault_id", BigInteger, Identity(always=True), primary_key=True),
    Column("instance_id", String(48), ForeignKey("strategy.instance.instance_id"), nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("in_a_row", Integer, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("back_off_until", Moment, nullable=False),
    recorded_at(),
    one_of("kind", FaultKind),
    CheckConstraint("in_a_row > 0", name="row_counts"),
    schema="strategy",
)

Index("ix_instance_fault_instance_id", instance_fault.c.instance_id, instance_fault.c.fault_id)
