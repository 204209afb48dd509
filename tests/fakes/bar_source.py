"""A vendor of past bars whose every row a test can see and spoil."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from src.shared.domain.bars import DAILY, HOURLY, Moments, as_moments
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import VendorBars
from src.shared.ports.market_data import Adjustment

_HALF = np.timedelta64(30, "m")


@dataclass
class FakeBarSource:
    """Implements `BarSource` from memory: half hours and days for each symbol that was filled.

    `asked` records each request; `page` is the most rows of a page; `failures` are raised for their symbols.
    """

    vendor: str = "alpaca"
    client: str = "fake 1.0"
    made_from: Mapping[str, str] = field(default_factory=lambda: {HOURLY: "30Min", DAILY: DAILY})
    page: int = 1000
    rows: dict[tuple[str, str], VendorBars] = field(default_factory=dict)
    asked: list[tuple[str, datetime, datetime, str, str]] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, symbol: str, start: datetime, end: datetime, *, price: float = 100.0) -> None:
        """Have good half hours, with pre-market before each open, and a row for each day."""
        sessions = TradingCalendar().sessions(start.date(), end.date())
        opens = as_moments([each.open for each in sessions])
        closes = as_moments([each.close for each in sessions])
        halves = [np.arange(opened - _HALF, closed, _HALF) for opened, closed in zip(opens, closes, strict=True)]
        self.put(symbol, "30Min", np.concatenate(halves), price)
        midnights = as_moments([each.open.replace(hour=5, minute=0) for each in sessions])
        self.put(symbol, DAILY, midnights, price)

    def put(self, symbol: str, timeframe: str, starts: Moments, price: float) -> None:
        """Have a row at each start, with a price that is the same whenever it is asked for."""
        hours = starts.astype("datetime64[m]").astype(np.int64) // 30
        closes = price * (1 + 0.01 * np.sin(hours / 7.0))
        prices = closes, closes * 1.002, closes * 0.998, closes
        volume = np.full(len(starts), 1000.0)
        self.rows[symbol, timeframe] = VendorBars(symbol, starts.astype("datetime64[us]"), *prices, volume)

    def split(self, symbol: str, ratio: float, before: datetime | None = None) -> None:
        """Adjust the history of a symbol for a split: the whole of it, or what starts before a moment."""
        for key, rows in self.rows.items():
            if key[0] == symbol:
                old = rows.start < as_moments([before])[0] if before else np.ones(len(rows), dtype=bool)
                shares = np.where(old, ratio, 1.0)
                open_, high, low, close = (column / shares for column in rows.columns[1:5])
                self.rows[key] = VendorBars(symbol, rows.start, open_, high, low, close, rows.volume * shares)

    def change(self, symbol: str, timeframe: str, start: datetime, **numbers: float) -> None:
        """Change numbers of one row."""
        rows = self.rows[symbol, timeframe]
        at = rows.start == as_moments([start])[0]
        assert at.any()
        for name, number in numbers.items():
            getattr(rows, name)[at] = number

    def lose(self, symbol: str, timeframe: str, start: datetime) -> None:
        """Have a row no longer."""
        rows = self.rows[symbol, timeframe]
        self.rows[symbol, timeframe] = rows.take(rows.start != as_moments([start])[0])

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Read rows page by page."""
        with self._lock:
            self.asked.append((symbol, start, end, timeframe, adjustment))
        rows = self.rows.get((symbol, timeframe), VendorBars.of(symbol, ()))
        first, after = as_moments([start, end])
        rows = rows.take((rows.start >= first) & (rows.start < after))
        for n in range(0, len(rows), self.page):
            yield rows.take(slice(n, n + self.page))
            if symbol in self.failures:
                raise self.failures[symbol]
        if symbol in self.failures:
            raise self.failures[symbol]
