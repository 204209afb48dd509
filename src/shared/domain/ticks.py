"""Trades at the exchange as they happen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Tick:
    """A trade at the exchange: what was paid for one share, and when (UTC)."""

    symbol: str
    price: float
    time: datetime
