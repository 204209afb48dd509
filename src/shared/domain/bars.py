"""Price bars as values, and as the aligned arrays that decisions are made from."""

from __future__ import annotations

from collections.abc import Sequence
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

    def before(self, moment: datetime) -> CloseSeries:
        """Return the part that ends at or before `moment`."""
        count = sum(1 for end in self.ends if end <= moment)
        return CloseSeries(self.symbols, self.ends[:count], self.closes[:count])


def close_series(bars: Sequence[Bar], symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
    """Lay bars out on the grid of `ends`; bars off the grid are left out, missing ones become NaN."""
    rows = {end: i for i, end in enumerate(ends)}
    columns = {symbol: j for j, symbol in enumerate(symbols)}
    closes = np.full((len(ends), len(symbols)), np.nan)
    for bar in bars:
        row, column = rows.get(bar.end), columns.get(bar.symbol)
        if row is not None and column is not None:
            closes[row, column] = bar.close
    return CloseSeries(tuple(symbols), tuple(ends), closes)
