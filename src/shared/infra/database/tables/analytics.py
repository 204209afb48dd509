"""Schema `analytics`: results of finished trades."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double, ForeignKey, Integer, String, Table, Uuid

from src.shared.infra.database.tables.base import METADATA, Moment, Money, finite, recorded_at

pair_performance = Table(
    "pair_performance",
    METADATA,
    Column("pair_trade_id", Uuid, ForeignKey("execution.pair_trade.pair_trade_id"), primary_key=True),
    Column("pair_id", String(21), nullable=False),
    Column("opened_slot", Moment, nullable=False),
    Column("closed_slot", Moment, nullable=False),
    Column("holding_bars", Integer, nullable=False),
    Column("gross_entry", Money, nullable=False),
    Column("realized_pnl", Money, nullable=False),
    Column("return_on_gross", Double, nullable=False),
    Column("close_reason", String(32), nullable=False),
    # Of this result, and of the trade that it was taken from: a late fill corrects both.
    Column("version", Integer, nullable=False),
    Column("trade_version", Integer, nullable=False),
    recorded_at(),
    CheckConstraint("gross_entry >= 0 AND holding_bars >= 0", name="numbers_sane"),
    finite("gross_entry", "realized_pnl", "return_on_gross"),
    schema="analytics",
)
