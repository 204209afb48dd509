"""What is known to happen to a company on a day: ex-dividend, a split, or that it tells what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class MarketEvent:
    """One event of a symbol; `day` is the New York day from whose open prices are other ones."""

    symbol: str
    day: date
    kind: str


@dataclass(frozen=True)
class EarningsReport:
    """When a company reports: New York days, the first and the last that it may be."""

    symbol: str
    first_day: date
    last_day: date
    is_estimate: bool

    def __str__(self) -> str:
        days = str(self.first_day) if self.first_day == self.last_day else f"{self.first_day} to {self.last_day}"
        return f"{days} (estimated)" if self.is_estimate else days


@dataclass(frozen=True)
class EarningsCalendar:
    """Reports that are known, and the New York days `first` to `last` in which one forbids an entry of today."""

    reports: tuple[EarningsReport, ...]
    first: date
    last: date

    def near(self, symbols: Sequence[str]) -> list[EarningsReport]:
        """List what these symbols report on those days, the earliest first."""
        return [report for report in self._of(symbols) if report.first_day <= self.last]

    def told(self, symbol: str) -> str:
        """Say when a symbol reports next, or did last; `unknown` where nobody has told."""
        return next((str(report) for report in self._of([symbol])), "unknown")

    def _of(self, symbols: Sequence[str]) -> list[EarningsReport]:
        known = [report for report in self.reports if report.symbol in symbols and report.last_day >= self.first]
        return sorted(known, key=lambda report: (report.first_day, report.symbol))
