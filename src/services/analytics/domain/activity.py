"""What a system did, counted from its own tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class TradeLine:
    """One pair trade. Quantities are the signed shares filled on entry; profit is booked dollars."""

    pair_id: str
    direction: str
    state: str
    opened_slot: datetime
    closed_slot: datetime | None
    quantity_1: Decimal
    quantity_2: Decimal
    reason: str | None
    realized_pnl: Decimal | None


@dataclass(frozen=True)
class Activity:
    """Counts by kind. `denials` are by reject code; `outbox` counts recorded, published and consumed events."""

    signals: Mapping[str, int]
    approvals: int
    denials: Mapping[str, int]
    orders: Mapping[str, int]
    fills: int
    trades: tuple[TradeLine, ...]
    outbox: Mapping[str, int]
    alerts: int

    @property
    def realized_pnl(self) -> Decimal:
        """Booked dollars of all finished trades."""
        return sum((line.realized_pnl for line in self.trades if line.realized_pnl is not None), Decimal(0))

    def count(self, *states: str) -> int:
        """Count the trades in these states."""
        return sum(line.state in states for line in self.trades)
