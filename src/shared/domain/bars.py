"""Price bars as values, and as the aligned arrays that decisions are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURLY = "1Hour"


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
