"""A vendor of bars whose every row a test can see and spoil, with a clock and assets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from src.shared.domain.orders import AccountReport, AssetReport, MarketClock, PositionReport
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import Quote, VendorBar
from src.shared.ports.market_data import Adjustment

HALF = timedelta(minutes=30)


@dataclass
class FakeVendor:
    """Implements `MarketDataSource`, `MarketClockSource` and `AccountSource` from memory.

    `rows` is what it has; `asked` records each request for bars; `failure` is raised from the n-th such request on.
    """

    now: datetime
    rows: dict[tuple[str, datetime], VendorBar] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], datetime, datetime]] = field(default_factory=list)
    failure: Exception | None = None
    failing_from: int = 1
    known: dict[str, AssetReport] = field(default_factory=dict)

    def fill(self, symbols: Sequence[str], start: datetime, end: datetime, calendar: TradingCalendar) -> None:
        """Have good half hours, with pre-market before each open, in every session of [start, end]."""
        for session in calendar.sessions(start.date(), end.date()):
            moment = session.open - HALF
            while moment < session.close:
                for n, symbol in enumerate(symbols):
                    self.put(symbol, moment, 100.0 + 10 * n + (moment.hour + moment.day) / 10)
                moment += HALF

    def put(self, symbol: str, start: datetime, close: float) -> None:
        """Have one half hour around a close."""
        self.rows[symbol, start] = VendorBar(symbol, start, close, close + 0.5, close - 0.5, close, 1000.0)

    def spoil(self, symbol: str, start: datetime, *, high: float | None = None, close: float | None = None) -> None:
        """Change the high or the close of a half hour."""
        row = self.rows[symbol, start]
        new_high, new_close = (row.high if high is None else high), (row.close if close is None else close)
        self.rows[symbol, start] = replace(row, high=new_high, close=new_close)

    def lose(self, symbol: str, start: datetime) -> None:
        """Have a half hour no longer."""
        del self.rows[symbol, start]

    def split(self, symbol: str, ratio: float, before: datetime | None = None) -> None:
        """Adjust the history of a symbol for a split: the whole of it, or what starts before a moment."""
        for key, row in list(self.rows.items()):
            if key[0] == symbol and (before is None or key[1] < before):
                self.rows[key] = replace(
                    row,
                    open=row.open / ratio,
                    high=row.high / ratio,
                    low=row.low / ratio,
                    close=row.close / ratio,
                )

    def bars(
        self,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        timeframe: str = "30Min",
        adjustment: Adjustment = "split",
    ) -> dict[str, list[VendorBar]]:
        """Read bars."""
        self.asked.append((tuple(symbols), start, end))
        if self.failure is not None and len(self.asked) >= self.failing_from:
            raise self.failure
        found = {symbol: [r for (s, _), r in self.rows.items() if s == symbol] for symbol in symbols}
        return {
            symbol: sorted((r for r in rows if start <= r.start < end), key=lambda r: r.start)
            for symbol, rows in found.items()
        }

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Have none."""
        return {}

    def clock(self) -> MarketClock:
        """Tell the time that the test has set."""
        return MarketClock(self.now, True, self.now + timedelta(days=1), self.now + timedelta(hours=1))

    def account(self) -> AccountReport:
        """Have none."""
        raise NotImplementedError

    def assets(self, symbols: Sequence[str]) -> dict[str, AssetReport]:
        """Read what is known of symbols."""
        return {symbol: self.known[symbol] for symbol in symbols if symbol in self.known}

    def positions(self) -> list[PositionReport]:
        """Hold nothing."""
        return []
