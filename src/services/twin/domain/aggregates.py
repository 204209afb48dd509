"""Bars as Polygon.io cuts them: by the clock, with the trade before the open and after the close mixed in.

The market itself knows sessions alone. A half hour before each open and one after each close are made up here, from
the open and the close and nothing else, so that they tell no future.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from src.services.twin.domain.market import HOUR, Market, Series
from src.services.twin.domain.moments import SECOND
from src.services.twin.domain.sessions import HALF_HOUR

MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
# A symbol trades a little before the open, dearer than it opens: whoever mixes the two up sees another bar.
_EARLY_OPEN, _EARLY_HIGH = 1.002, 1.003
_EXTENDED_VOLUME = 0.01


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One bar; `start` and `end` in microseconds, the rest as Polygon.io names it."""

    start: int
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: int

    @property
    def average(self) -> float:
        """Something like the average price."""
        return round((self.high + self.low + self.close) / 3, 4)


def half_hours(market: Market, symbol: str, start: int, end: int, now: int, *, adjusted: bool) -> list[Aggregate]:
    """List the half hours that start in [start, end] and are over at `now`, extended hours among them."""
    series = market.series(symbol, "30Min", adjusted=adjusted)
    # The session's first half hour says what was before it, its last one what came after.
    near = range(bisect_left(series.start, start - HALF_HOUR), bisect_right(series.start, end + HALF_HOUR))
    found = (each for i in near for each in _with_extended(market, series, i))
    return [each for each in found if start <= each.start <= end and each.end <= now]


def hours(market: Market, symbol: str, start: int, end: int, now: int, *, adjusted: bool) -> list[Aggregate]:
    """List the clock hours that start in [start, end] and are over at `now`; that of the open mixes both trades."""
    halves = half_hours(market, symbol, start - start % HOUR, end + HALF_HOUR, now, adjusted=adjusted)
    whole = (
        _added_up(hour, list(each)) for hour, each in groupby(halves, lambda half: half.start - half.start % HOUR)
    )
    return [hour for hour in whole if start <= hour.start <= end and hour.end <= now]


def days(market: Market, symbol: str, start: int, end: int, now: int, *, adjusted: bool) -> list[Aggregate]:
    """List the sessions whose midnight in New York is in [start, end] and that are over at `now`."""
    series = market.series(symbol, "1Day", adjusted=adjusted)
    near = range(bisect_left(series.start, start), bisect_right(series.start, end))
    found = (_aggregate(series, i) for i in near)
    return [each for each in found if each.end <= now]


def _with_extended(market: Market, series: Series, i: int) -> Iterator[Aggregate]:
    half = _aggregate(series, i)
    session = market.sessions.open_at(half.start)
    some = int(half.volume * _EXTENDED_VOLUME)
    if session is not None and half.start == session.open:
        early, high = round(half.open * _EARLY_OPEN, 4), round(half.open * _EARLY_HIGH, 4)
        yield Aggregate(half.start - HALF_HOUR, half.start, early, high, half.open, half.open, some)
    yield half
    if session is not None and half.end == session.close:
        close = half.close
        yield Aggregate(half.end, half.end + HALF_HOUR, close, close, close, close, some)


def _aggregate(series: Series, i: int) -> Aggregate:
    row: dict[str, Any] = series.rows[i]
    return Aggregate(series.start[i], series.end[i], row["o"], row["h"], row["l"], row["c"], row["v"])


def _added_up(hour: int, halves: list[Aggregate]) -> Aggregate:
    return Aggregate(
        hour,
        hour + HOUR,
        halves[0].open,
        max(each.high for each in halves),
        min(each.low for each in halves),
        halves[-1].close,
        sum(each.volume for each in halves),
    )
