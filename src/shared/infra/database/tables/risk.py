"""Schema `risk`: decisions with their numbers, limits with their history, the risk state, equity and cash flows."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.domain.risk_limits import LIMIT_BOUNDS, LimitBounds
from src.shared.infra.database.tables.base import METADATA, Moment, Money, Quantity, finite, one_of, recorded_at

risk_decision = Table(
    "risk_decision",
    METADATA,
    Column("decision_id", Uuid, primary_key=True),
    Column("signal_id", Uuid, ForeignKey("strategy.pair_signal.signal_id"), nullable=False),
    # As the signal names it: a pair, or `instance:SYMBOL`.
    Column("pair_id", String(59), nullable=False),
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

# A slot's first word, and the broker's time when it was read: for a slot that is reviewed late, long after it.
equity_point = Table(
    "equity_point",
    METADATA,
    Column("slot", Moment, primary_key=True),
    Column("taken_at", Moment, nullable=False),
    Column("equity", Money, nullable=False),
    Column("cash", Money, nullable=False),
    Column("buying_power", Money, nullable=False),
    recorded_at(),
    finite("equity", "cash", "buying_power"),
    schema="risk",
)


def _in_bounds(bounds: LimitBounds) -> str:
    whole = " AND value = trunc(value)" if bounds.is_whole else ""
    return f"(name = '{bounds.name}' AND value BETWEEN {bounds.least:f} AND {bounds.most:f}{whole})"


# Append-only: a trigger refuses UPDATE and DELETE. The last row of a name is in force.
limit_change = Table(
    "limit_change",
    METADATA,
    Column("change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", String(32), nullable=False),
    Column("value", Numeric(20, 9), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("version", Integer, nullable=False),
    recorded_at(),
    UniqueConstraint("name", "version"),
    # NaN is above every bound; a name that no line knows has no bounds and is refused.
    CheckConstraint(" OR ".join(_in_bounds(bounds) for bounds in LIMIT_BOUNDS.values()), name="value_in_bounds"),
    schema="risk",
)

# What came into the account or left it, by the broker's id; when exactly, the broker may not say.
cash_flow = Table(
    "cash_flow",
    METADATA,
    Column("flow_id", Text, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("amount", Money, nullable=False),
    Column("earliest", Moment, nullable=False),
    Column("latest", Moment, nullable=False),
    recorded_at(),
    CheckConstraint("earliest <= latest", name="window_ordered"),
    finite("amount"),
    schema="risk",
)

Index("ix_cash_flow_latest", cash_flow.c.latest)

# What the monitor saw between the slots; a slot's own first word is in equity_point.
portfolio_reading = Table(
    "portfolio_reading",
    METADATA,
    Column("taken_at", Moment, primary_key=True),
    Column("equity", Money, nullable=False),
    Column("gross", Money, nullable=False),
    Column("net", Money, nullable=False),
    Column("numbers", JSONB, nullable=False),
    recorded_at(),
    finite("equity", "gross", "net"),
    schema="risk",
)
