"""A long load of past bars: what it is about, in which pieces it is stored, how it went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

import numpy as np

from src.services.data_ingestion.domain.gate import NEIGHBOURS, Mask, Rejection, judge
from src.services.data_ingestion.domain.grid import Grid, Span, make_grid
from src.services.data_ingestion.domain.loads import PROBLEMS_KEPT, LoadState
from src.services.data_ingestion.domain.making import make_bars
from src.shared.domain.bars import BarColumns, Moments, Series, as_datetime, as_moments
from src.shared.domain.errors import Refused, Transient
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import VendorBars

_DAY = np.timedelta64(1, "D")
_FAR = np.timedelta64(31, "D")


@dataclass(frozen=True)
class SymbolOutcome:
    """How the load of one symbol went.

    Of the bars that came, some were new, some as stored before, some restated; some were rejected by the gate.
    `missing` counts the bars of the calendar that were asked for and that the vendor did not have. `rebased` is the
    factor by which the prices of the whole series have changed, if they have. `failure` is None unless the load broke
    off; what had come before that is kept. `error` is what it broke off with, while the load of all symbols lasts.
    """

    symbol: str
    new: int = 0
    unchanged: int = 0
    restated: int = 0
    rejected: int = 0
    missing: int = 0
    rebased: float | None = None
    failure: str | None = None
    error: Transient | Refused | None = field(default=None, repr=False, compare=False)

    def plus(self, **more: int) -> SymbolOutcome:
        """Add to the counts."""
        return replace(self, **{name: getattr(self, name) + count for name, count in more.items()})


@dataclass(frozen=True)
class HistoryResult:
    """How a long load went, by symbol."""

    outcomes: tuple[SymbolOutcome, ...]

    @property
    def failed(self) -> tuple[SymbolOutcome, ...]:
        """Those that broke off."""
        return tuple(each for each in self.outcomes if each.failure is not None)

    @property
    def rows_written(self) -> int:
        """How many rows are new or restated."""
        return sum(each.new + each.restated for each in self.outcomes)

    def total(self, name: str) -> int:
        """Add up one of the counts over all symbols."""
        return sum(int(getattr(each, name)) for each in self.outcomes)


@dataclass(frozen=True, eq=False)
class Window:
    """The bars of a series that are to be asked for without a pause: `grid`, part of the calendar."""

    series: Series
    grid: Grid

    @property
    def start(self) -> datetime:
        """The start of the first bar."""
        return as_datetime(self.grid.start[0])

    @property
    def end(self) -> datetime:
        """The end of the last bar."""
        return as_datetime(self.grid.end[-1])


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows that are stored together: those of bars that start in [start, until), with neighbours on either side."""

    rows: VendorBars
    start: np.datetime64
    until: np.datetime64

    def holds(self, starts: Moments) -> Mask:
        """Say of starts of bars whether they belong to this piece."""
        held: Mask = (starts >= self.start) & (starts < self.until)
        return held


@dataclass(frozen=True, eq=False)
class Brought:
    """What a piece has brought: good bars, oldest first, bad ones, and the ends of the bars that did not come."""

    accepted: BarColumns
    rejected: tuple[Rejection, ...]
    missing: Moments

    @property
    def state(self) -> LoadState:
        """The state that the load of the piece ends in."""
        return "partial" if self.rejected or len(self.missing) else "complete"

    @property
    def problems(self) -> list[str]:
        """What a person wants to know of it, in lines."""
        lines = [str(each) for each in self.rejected]
        if len(self.missing):
            first, last = as_datetime(self.missing[0]), as_datetime(self.missing[-1])
            lines.append(f"{len(self.missing)} bars missing, {first:%Y-%m-%d %H:%MZ} to {last:%Y-%m-%d %H:%MZ}")
        return lines[:PROBLEMS_KEPT]


def judge_piece(piece: Piece, window: Window, timeframe: str, now: datetime, spike_ratio: float) -> Brought:
    """Make and judge the bars of a piece out of rows of a timeframe; its neighbours are looked at and left out."""
    grid = window.grid
    ours = piece.holds(grid.start)
    if not len(piece.rows):
        return Brought(BarColumns.of(window.series.symbol, ()), (), grid.end[ours])
    # A day's row may be stamped with its midnight.
    near = (grid.end > piece.rows.start.min()) & (grid.start <= piece.rows.start.max() + _DAY)
    made = make_bars(piece.rows, grid.take(near), timeframe)
    verdict = judge(made.bars, grid, np.empty(0), now, spike_ratio)
    accepted = verdict.accepted.take(piece.holds(verdict.accepted.start))
    first, last = as_datetime(piece.start), as_datetime(piece.until)
    rejected = tuple(each for each in made.rejected + verdict.rejected if first < each.end <= last)
    there = np.concatenate((accepted.end, as_moments([each.end for each in rejected])))
    return Brought(accepted, rejected, grid.end[ours & ~np.isin(grid.end, there)])


def wanted_windows(series: Series, grid: Grid, done: Mask) -> list[Window]:
    """Cut what is not done into windows; a stretch of a month or less that is done does not part two of them."""
    wanted = grid.take(~done)
    if not len(wanted):
        return []
    breaks = np.flatnonzero(wanted.start[1:] - wanted.end[:-1] > _FAR) + 1
    edges = [0, *breaks.tolist(), len(wanted)]
    windows = []
    for first, after in pairwise(edges):
        inside = (grid.start >= wanted.start[first]) & (grid.end <= wanted.end[after - 1])
        windows.append(Window(series, grid.take(inside)))
    return windows


def windows_with_overlap(
    series: Series, calendar: TradingCalendar, wanted: Grid, overlaps: Sequence[Sequence[Span]]
) -> list[Window]:
    """Cut what is wanted into windows, stored bars before it along with it; other stored bars come first, alone."""
    alone, before = [], list[Span]()
    for overlap in overlaps:
        if as_moments([overlap[-1][1]])[0] <= wanted.start[0] and not before:
            before = list(overlap)
        else:
            alone.append(Window(series, Grid.of(overlap)))
    start = before[0][0] if before else as_datetime(wanted.start[0])
    grid = make_grid(calendar, series.timeframe, start, as_datetime(wanted.end[-1]))
    asked = np.isin(grid.end, np.concatenate((wanted.end, as_moments([end for _, end in before]))))
    return [*alone, *wanted_windows(series, grid, ~asked)]


def done_spans(grid: Grid, stored: Moments, asked: Sequence[Span], recent_from: datetime) -> Mask:
    """Say which bars of a grid need not be asked for: stored, or asked for before and not of late."""
    done: Mask = np.isin(grid.end, stored)
    old = grid.start < as_moments([recent_from])[0]
    for start, end in asked:
        first, last = as_moments([start, end])
        done |= old & (grid.start >= first) & (grid.end <= last)
    return done


def pieces(pages: Iterable[VendorBars], window: Window, rows_at_once: int) -> Iterator[Piece]:
    """Cut a vendor's pages at the ends of months, the last piece at the end of the window.

    A piece comes out once so many rows are held and another page is there, so that its last bars are judged with
    neighbours on both sides; no more than that, a page and a month are held.
    """
    grid, start = window.grid, window.grid.start[0]
    rows = VendorBars.of(window.series.symbol, ())
    for page in pages:
        until = _month_that_is_whole(grid, rows) if len(rows) >= rows_at_once else None
        if until is not None and until > start:
            yield Piece(rows, start, until)
            rows, start = rows.take(rows.start >= _context_from(grid, until)), until
        rows = VendorBars.joined(rows.symbol, (rows, page))
    yield Piece(rows, start, grid.end[-1])


def _month_that_is_whole(grid: Grid, rows: VendorBars) -> np.datetime64 | None:
    if not len(rows):
        return None
    after = int(np.searchsorted(grid.start, rows.start.max())) - 1 - NEIGHBOURS
    if after <= 0:
        return None
    month: np.datetime64 = grid.start[after].astype("datetime64[M]").astype("datetime64[us]")
    return month


def _context_from(grid: Grid, until: np.datetime64) -> np.datetime64:
    first_after = int(np.searchsorted(grid.start, until))
    start: np.datetime64 = grid.start[max(0, first_after - NEIGHBOURS - 1)]
    return start
