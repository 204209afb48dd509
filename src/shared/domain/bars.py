"""Price bars as values, and as the aligned arrays that decisions are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Moments = NDArray[np.datetime64]

HOURLY = "1Hour"
DAILY = "1Day"


def as_moments(times: Sequence[datetime]) -> Moments:
    """Turn N times with a zone into an array of shape (N,) and dtype datetime64[us], in UTC."""
    return np.array([time.astimezone(UTC).replace(tzinfo=None) for time in times], dtype="datetime64[us]")


def as_datetime(moment: np.datetime64) -> datetime:
    """Turn one element of such an array back into a time in UTC."""
    time: datetime = moment.astype("datetime64[us]").item()
    return time.replace(tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Series:
    """Which bars belong together: one symbol, one length of bar, one vendor, one way of adjusting prices."""

    symbol: str
    timeframe: str
    vendor: str
    adjustment: str

    def __str__(self) -> str:
        """Write it as people read it: `KO 1Hour alpaca/split`."""
        return f"{self.symbol} {self.timeframe} {self.vendor}/{self.adjustment}"


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


@dataclass(frozen=True, eq=False)
class BarColumns:
    """Bars of one symbol in columns of N rows, usually oldest first.

    `start` and `end` have shape (N,) and dtype datetime64[us], in UTC; the other columns have shape (N,) and dtype
    float64, in dollars and shares.
    """

    symbol: str
    start: Moments
    end: Moments
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, symbol: str, bars: Sequence[Bar]) -> BarColumns:
        """Put the bars of a symbol into columns, in their order."""
        numbers = np.array([(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars], dtype=np.float64)
        spans = as_moments([bar.start for bar in bars]), as_moments([bar.end for bar in bars])
        return cls(symbol, *spans, *numbers.reshape(-1, 5).T)

    @classmethod
    def joined(cls, symbol: str, parts: Sequence[BarColumns]) -> BarColumns:
        """Put parts of one symbol one after the other."""
        if not parts:
            return cls.of(symbol, ())
        return cls(
            symbol, *(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True))
        )

    @property
    def columns(self) -> tuple[Moments, Moments, Floats, Floats, Floats, Floats, Floats]:
        """Start, end, open, high, low, close and volume."""
        return self.start, self.end, self.open, self.high, self.low, self.close, self.volume

    def take(self, rows: Any) -> BarColumns:
        """Choose rows by a mask, by their numbers or by a slice."""
        return BarColumns(self.symbol, *(column[rows] for column in self.columns))

    def __len__(self) -> int:
        """Count the bars."""
        return len(self.end)


@dataclass(frozen=True, order=True)
class BarKind:
    """What bars of different symbols have in common: how long they are, who gave them, how prices are adjusted."""

    timeframe: str
    vendor: str
    adjustment: str

    def __str__(self) -> str:
        return f"{self.timeframe} of {self.vendor}, {self.adjustment}"


@dataclass(frozen=True, eq=False)
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

    def beside(self, other: CloseSeries) -> CloseSeries:
        """Put the symbols of another series, on the same grid, after these."""
        closes = np.concatenate([self.closes, other.closes], axis=1)
        return CloseSeries((*self.symbols, *other.symbols), self.ends, closes)

    def pair(self, symbol_1: str, symbol_2: str) -> tuple[Floats, Floats]:
        """Return both legs' closes, each of length T."""
        return self.column(symbol_1), self.column(symbol_2)


@dataclass(frozen=True, eq=False)
class BarSeries:
    """Whole bars of several symbols on one time grid.

    `ends` has T slots, oldest first; prices in dollars and volumes in shares have shape (T, S), all NaN where a
    symbol has no bar; `symbols` has S names in the order of the columns.
    """

    symbols: tuple[str, ...]
    ends: tuple[datetime, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def values(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Open, high, low, close and volume."""
        return self.open, self.high, self.low, self.close, self.volume

    @property
    def closes(self) -> CloseSeries:
        """The closes alone."""
        return CloseSeries(self.symbols, self.ends, self.close)

    def first(self, count: int) -> BarSeries:
        """Return the first `count` rows."""
        return BarSeries(self.symbols, self.ends[:count], *(each[:count] for each in self.values))
