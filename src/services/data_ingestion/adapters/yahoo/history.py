"""Yahoo as a source of past bars: hours that count from the open, and days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import numpy as np

from src.services.data_ingestion.adapters.yahoo.charts import (
    Chart,
    dividend_factors,
    read_chart,
    split_factors,
    to_bars,
)
from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.errors import InputInvalid
from src.shared.domain.vendor_data import VendorBars
from src.shared.ports.market_data import Adjustment

VENDOR: Final = "yahoo"
_INTERVALS = {HOURLY: "1h", DAILY: "1d"}
HOURLY_DAYS = 729
"""So many days back there are hours: Yahoo keeps them for 730."""

_LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


class YahooHistory:
    """Past bars from Yahoo.

    What Yahoo calls the close is adjusted for splits and not for dividends: "split" here. "raw" undoes the splits,
    "all" takes the ratio of Yahoo's adjusted close to its close, day by day. Hours are kept for 730 days.
    """

    def __init__(self, client: YahooClient) -> None:
        self._client = client

    @property
    def vendor(self) -> str:
        """Name under which the bars are stored."""
        return VENDOR

    @property
    def client(self) -> str:
        """Library and version that brings them."""
        return self._client.library

    @property
    def made_from(self) -> Mapping[str, str]:
        """Hours and days are as Yahoo has them: its hours count from the open."""
        return {timeframe: timeframe for timeframe in _INTERVALS}

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Read the bars that start in [start, end); see `BarSource.history`. Hours before 730 days ago are refused.

        Raises:
            InputInvalid: Yahoo has no such bars.
        """
        if timeframe not in _INTERVALS:
            raise InputInvalid(f"Yahoo has no bars of {timeframe}; choose {' or '.join(_INTERVALS)}.")
        if adjustment not in ("raw", "split", "all"):
            raise InputInvalid(f"Yahoo's prices can't be adjusted for {adjustment} alone; choose raw, split or all.")
        first, last = int(start.timestamp()), int(end.timestamp())
        chart = read_chart(self._client.chart(symbol, first, last, _INTERVALS[timeframe]))
        chart = _within(chart, first, last)
        if len(chart):
            yield self._on_basis(symbol, chart, adjustment)

    def _on_basis(self, symbol: str, chart: Chart, adjustment: Adjustment) -> VendorBars:
        ones = np.ones(len(chart))
        if adjustment == "split":
            return to_bars(symbol, chart, ones, ones)
        daily = self._days_since(symbol, int(chart.seconds.min()))
        if adjustment == "all":
            return to_bars(symbol, chart, dividend_factors(chart, daily), ones)
        shares = split_factors(chart, daily.splits)
        return to_bars(symbol, chart, shares, 1 / shares)

    def _days_since(self, symbol: str, first: int) -> Chart:
        # To the end: a split after the window changed the prices within it too.
        midnight = first - first % 86_400
        return read_chart(self._client.chart(symbol, midnight, _LATEST, "1d"))


def _within(chart: Chart, first: int, last: int) -> Chart:
    """Drop what was not asked for: Yahoo likes to add the latest price, whenever that was."""
    kept = (chart.seconds >= first) & (chart.seconds < last)
    if kept.all():
        return chart
    columns = {name: column[kept] for name, column in chart.columns.items()}
    return Chart(chart.seconds[kept], columns, chart.adjusted[kept], chart.splits, chart.currency)
