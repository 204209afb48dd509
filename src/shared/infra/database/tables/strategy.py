"""Schema `strategy`: the registry of pairs, their spreads and their signals."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.domain.pairs import PairMode
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.tables.base import (
    METADATA,
    Moment,
    finite,
    one_of,
    recorded_at,
    symbol_check,
    symbol_column,
)

pair_registry = Table(
    "pair_registry",
    METADATA,
    Column("pair_id", String(21), primary_key=True),
    symbol_column("symbol_1"),
    symbol_column("symbol_2"),
    Column("alpha", Double, nullable=False),
    Column("beta", Double, nullable=False),
    Column("half_life_bars", Double, nullable=False),
    Column("z_window_bars", Integer, nullable=False),
    Column("time_stop_bars", Integer, nullable=False),
    Column("correlation", Double, nullable=False),
    Column("fitted_from", Moment, nullable=False),
    Column("fitted_to", Moment, nullable=False),
    Column("gate_passed", Boolean, nullable=False, server_default="false"),
    Column("mode", String(16), nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("source", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
    recorded_at(),
    symbol_check("symbol_1"),
    symbol_check("symbol_2"),
    CheckConstraint("symbol_1 <> symbol_2", name="two_symbols"),
    CheckConstraint("pair_id = symbol_1 || '/' || symbol_2", name="named_after_legs"),
    CheckConstraint("abs(alpha) < 1e6 AND beta > 0 AND beta < 100", name="fit_sane"),
    CheckConstraint("half_life_bars > 0 AND half_life_bars < 1e4", name="half_life_sane"),
    CheckConstraint("z_window_bars BETWEEN 3 AND 5000 AND time_stop_bars BETWEEN 1 AND 50000", name="windows_sane"),
    CheckConstraint("correlation BETWEEN -1 AND 1", name="correlation_sane"),
    one_of("mode", PairMode),
    schema="strategy",
)

pair_spread = Table(
    "pair_spread",
    METADATA,
    Column("pair_id", String(21), ForeignKey("strategy.pair_registry.pair_id"), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("price_1", Double, nullable=False),
    Column("price_2", Double, nullable=False),
    Column("spread", Double, nullable=False),
    Column("mean", Double, nullable=False),
    Column("sd", Double, nullable=False),
    Column("z", Double, nullable=False),
    Column("window_bars", Integer, nullable=False),
    recorded_at(),
    PrimaryKeyConstraint("pair_id", "slot"),
    finite("price_1", "price_2", "spread", "mean", "sd", "z"),
    CheckConstraint("price_1 > 0 AND price_2 > 0 AND sd >= 0", name="reading_sane"),
    schema="strategy",
)

pair_signal = Table(
    "pair_signal",
    METADATA,
    Column("signal_id", Uuid, primary_key=True),
    Column("pair_id", String(21), ForeignKey("strategy.pair_registry.pair_id"), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("action", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("pair_mode", String(16), nullable=False),
    Column("held_bars", Integer),
    Column("numbers", JSONB, nullable=False),
    recorded_at(),
    UniqueConstraint("pair_id", "slot"),
    one_of("action", SignalAction),
    schema="strategy",
)

Index("ix_pair_signal_slot", pair_signal.c.slot)

# A pair's last stop is asked for in every slot.
Index("ix_pair_signal_stop", pair_signal.c.pair_id, pair_signal.c.slot, postgresql_where="action = 'stop'")
