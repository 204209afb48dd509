"""Prices as a vendor gives them, before any judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from src.shared.domain.bars import Floats, Moments, as_moments


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


@dataclass(frozen=True, eq=False)
class VendorBars:
    """Bars of one symbol as they came, in columns of N rows in the vendor's order; judged like a `VendorBar`.

    `start` has shape (N,) and dtype datetime64[us], in UTC; the other columns have shape (N,) and dtype float64, with
    NaN where the vendor sent no number.
    """

    symbol: str
    start: Moments
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, symbol: str, rows: Sequence[VendorBar]) -> VendorBars:
        """Put the rows of a symbol into columns, in their order."""
        numbers = np.array([(row.open, row.high, row.low, row.close, row.volume) for row in rows], dtype=np.float64)
        return cls(symbol, as_moments([row.start for row in rows]), *numbers.reshape(-1, 5).T)

    @classmethod
    def joined(cls, symbol: str, parts: Sequence[VendorBars]) -> VendorBars:
        """Put parts of one symbol one after the other."""
        if not parts:
            return cls.of(symbol, ())
        return cls(
            symbol, *(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True))
        )

    @property
    def columns(self) -> tuple[Moments, Floats, Floats, Floats, Floats, Floats]:
        """Start, open, high, low, close and volume."""
        return self.start, self.open, self.high, self.low, self.close, self.volume

    def take(self, rows: Any) -> VendorBars:
        """Choose rows by a mask, by their numbers or by a slice."""
        return VendorBars(self.symbol, *(column[rows] for column in self.columns))

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
