"""Schema `risk`: decisions with their numbers, the account's risk state, and equity over time."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.infra.database.tables.base import METADATA, Moment, Money, Quantity, finite, one_of, recorded_at

risk_decision = Table(
    "risk_decision",
    METADATA,
    Column("decision_id", Uuid, primary_key=True),
    Column("signal_id", Uuid, ForeignKey("strategy.pair_signal.signal_id"), nullable=False),
    Column("pair_id", String(21), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("action", String(16), nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("code", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("quantity_1", Quantity, nullable=False),
    Column("quantity_2", Quantity, nullable=False),
    Column("numbers", JSONB, nullable=False),
    recorded_at(),
    UniqueConstraint("signal_id"),
    UniqueConstraint("pair_id", "slot"),
    CheckConstraint("approved = (code = 'APPROVED')", name="code_agrees"),
    finite("quantity_1", "quantity_2"),
    schema="risk",
)

risk_state = Table(
    "risk_state",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("since", Moment, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
    one_of("state", ["active", "reducing", "halted"]),
    schema="risk",
)

equity_point = Table(
    "equity_point",
    METADATA,
    Column("slot", Moment, primary_key=True),
    Column("equity", Money, nullable=False),
    Column("cash", Money, nullable=False),
    Column("buying_power", Money, nullable=False),
    recorded_at(),
    finite("equity", "cash", "buying_power"),
    schema="risk",
)
