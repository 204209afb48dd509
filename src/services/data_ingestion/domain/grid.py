"""The bars that there may be in a window, by the exchange calendar, and which vendor's rows each is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.shared.domain.bars import DAILY, HOURLY, Moments, as_moments
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar

HALF_HOURS = "30Min"
TIMEFRAMES = (HOURLY, DAILY)

_HOUR = np.timedelta64(1, "h")
_HALF = np.timedelta64(30, "m")
_DAY = np.timedelta64(1, "D")
_MICROSECOND = np.timedelta64(1, "us")

Span = tuple[datetime, datetime]


@dataclass(frozen=True, eq=False)
class Grid:
    """M spans of bars, oldest first, that don't overlap; `start` and `end` have shape (M,), in UTC."""

    start: Moments
    end: Moments

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Grid:
        """Make a grid of (start, end)."""
        return cls(as_moments([span[0] for span in spans]), as_moments([span[1] for span in spans]))

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.end)

    def take(self, rows: NDArray[np.bool_] | slice) -> Grid:
        """Choose spans by a mask or a slice."""
        return Grid(self.start[rows], self.end[rows])

    def holds(self, start: Moments, end: Moments) -> NDArray[np.bool_]:
        """Say of N bars whether their spans are among these."""
        if not len(self):
            return np.zeros(len(end), dtype=bool)
        place = np.minimum(np.searchsorted(self.end, end), len(self) - 1)
        found: NDArray[np.bool_] = (self.end[place] == end) & (self.start[place] == start)
        return found


@dataclass(frozen=True, eq=False)
class Parts:
    """Where a vendor's rows for the bars of a grid start: P parts, oldest first, one or two for each bar.

    A row belongs to part p if it starts in [begin[p], until[p]); `bar` has the number of the bar in the grid.
    """

    begin: Moments
    until: Moments
    bar: NDArray[np.int64]


def make_grid(calendar: TradingCalendar, timeframe: str, start: datetime, end: datetime) -> Grid:
    """List the bars of the calendar that start at or after `start` and end at or before `end`.

    A bar of a day has the session's open and close as its start and end.

    Raises:
        InputInvalid: there are no such bars here.
    """
    if timeframe not in TIMEFRAMES:
        raise InputInvalid(f"{timeframe!r} is no length of a bar: there are {', '.join(TIMEFRAMES)}.")
    every = _every_bar(calendar, timeframe)
    first, last = as_moments([start, end])
    return every.take(slice(np.searchsorted(every.start, first), np.searchsorted(every.end, last, side="right")))


def parts_of(grid: Grid, rows: str) -> Parts:
    """Say which rows of a vendor's timeframe (30Min, 1Hour or 1Day) make the bars of a grid.

    A day's row may start at any moment of its New York day: vendors write midnight or the open.

    Raises:
        InputInvalid: bars can't be made of such rows.
    """
    numbers = np.arange(len(grid))
    if rows == HOURLY:
        return Parts(grid.start, grid.start + _MICROSECOND, numbers)
    if rows == DAILY:
        midnight = _new_york_midnights(grid.start)
        return Parts(midnight, midnight + _DAY, numbers)
    if rows != HALF_HOURS:
        raise InputInvalid(f"bars can't be made of rows of {rows}.")
    halves = np.where(grid.end - grid.start > _HALF, 2, 1)
    bar = np.repeat(numbers, halves)
    begin = grid.start[bar]
    begin[1:] += np.where(bar[1:] == bar[:-1], _HALF, np.timedelta64(0, "m"))
    return Parts(begin, begin + _MICROSECOND, bar)


@lru_cache(maxsize=8)
def _every_bar(calendar: TradingCalendar, timeframe: str) -> Grid:
    """List every bar of a calendar, once: a load of a thousand symbols takes a part of it for each."""
    sessions = Grid.of([(each.open, each.close) for each in calendar.sessions(date.min, date.max)])
    if timeframe == DAILY:
        return sessions
    bars = -((sessions.start - sessions.end) // _HOUR)
    session = np.repeat(np.arange(len(sessions)), bars)
    place = np.arange(len(session)) - np.repeat(np.cumsum(bars) - bars, bars)
    start = sessions.start[session] + place * _HOUR
    return Grid(start, np.minimum(start + _HOUR, sessions.end[session]))


def _new_york_midnights(opens: Moments) -> Moments:
    import pandas as pd

    local = pd.DatetimeIndex(opens).tz_localize("UTC").tz_convert("America/New_York").normalize()
    midnights: Moments = local.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    return midnights
