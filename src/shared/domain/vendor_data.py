"""Prices as a vendor gives them, before any judgement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class VendorBar:
    """One bar as it came: it may be unfinished, misaligned or nonsense, NaN where the vendor sent no number.

    `start` is UTC, prices are dollars, volume is shares.
    """

    symbol: str
    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class Quote:
    """The best bid and ask in dollars, sizes as the vendor counts them; zero where that side is empty."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    at: datetime
