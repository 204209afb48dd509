"""Price bars as values, and as the aligned arrays that decisions are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Moments = NDArray[np.datetime64]

HOURLY = "1Hour"
DAILY = "1Day"


@dataclass(frozen=True)
class Bar:
    """One finished, session-aligned bar. Prices are in dollars, start and end in UTC, volume in shares."""

    symbol: str
    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, order=True)
class BarKind:
    """What bars of different symbols have in common: how long they are, who gave them, how prices are adjusted."""

    timeframe: str
    vendor: str
    adjustment: str

    def __str__(self) -> str:
        return f"{self.timeframe} of {self.vendor}, {self.adjustment}"


@dataclass(frozen=True)
class StoredBars:
    """The stored bars of one symbol and kind in N rows, oldest first.

    `end` and `recorded_at` have shape (N,) and dtype datetime64[us], in UTC: a bar that was restated has another
    `recorded_at`. Prices in dollars and volume in shares have shape (N,) and dtype float64.
    """

    end: Moments
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    recorded_at: Moments

    def __len__(self) -> int:
        """Count the bars."""
        return len(self.end)


@dataclass(frozen=True)
class CloseSeries:
    """Closes of several symbols on one time grid.

    `ends` has T slots, oldest first; `closes` has shape (T, S) with NaN where a symbol has no bar; `symbols` has S
    names in the order of the columns.
    """

    symbols: tuple[str, ...]
    ends: tuple[datetime, ...]
    closes: Floats

    def column(self, symbol: str) -> Floats:
        """Return the T closes of one symbol; all NaN when the symbol is not here."""
        if symbol not in self.symbols:
            return np.full(len(self.ends), np.nan)
        return self.closes[:, self.symbols.index(symbol)]

    def pair(self, symbol_1: str, symbol_2: str) -> tuple[Floats, Floats]:
        """Return both legs' closes, each of length T."""
        return self.column(symbol_1), self.column(symbol_2)
