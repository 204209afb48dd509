"""Prices as a vendor gives them, before any judgement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from src.shared.domain.bars import Floats


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
class VendorBars:
    """Bars of one symbol as they came, in columns of N rows in the vendor's order; judged like a `VendorBar`.

    `start` has shape (N,) and dtype datetime64[us], in UTC; the other columns have shape (N,) and dtype float64, with
    NaN where the vendor sent no number.
    """

    symbol: str
    start: NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.start)


@dataclass(frozen=True)
class Quote:
    """The best bid and ask in dollars, sizes as the vendor counts them; zero where that side is empty."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    at: datetime
