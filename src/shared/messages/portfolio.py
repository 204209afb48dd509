"""What analytics says about results."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from src.shared.messages.base import Event


class PerformanceRecorded(Event):
    """The result of a finished pair trade has been recorded, or corrected by a late fill, in dollars."""

    speaker: ClassVar[str] = "portfolio"
    aggregate: ClassVar[str] = "pair_performance"

    pair_id: str
    pair_trade_id: str
    realized_pnl: Decimal
    holding_bars: int
