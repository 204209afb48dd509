"""From a vendor's rows to the bars of the exchange.

Vendors align hourly bars with the clock, so that the bar of the open mixes half an hour of pre-market with half an
hour of the session. Half hours don't have that fault on exchanges that open on the half hour: two of them make an
hour of `shared.domain.sessions`, and the last, short bar of a session is one. A vendor whose hours start with the
session needs no such making, and a day is made of its one row.

An hour is made of all its halves or not at all. With the second half missing its close would be half an hour old and
look fresh; with the first missing we can't tell "nothing was traded" from "a row was lost". It is asked for again for
some time, see `plan`; what stays missing is missing data to those who decide, not a price that someone made up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.services.data_ingestion.domain.gate import Flaw, Flaws, Mask, Rejection, price_flaws, raw_row
from src.services.data_ingestion.domain.grid import Grid, Parts, parts_of
from src.shared.domain.bars import BarColumns, as_datetime
from src.shared.domain.vendor_data import VendorBars

_NUMBERS = ("open", "high", "low", "close", "volume")

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Made:
    """Bars made from a vendor's rows, oldest first, and what could not be used, with reasons."""

    bars: BarColumns
    rejected: tuple[Rejection, ...]


def make_bars(rows: VendorBars, grid: Grid, timeframe: str) -> Made:
    """Make the bars of `grid` out of a vendor's rows of a timeframe; rows of other times are dropped.

    Pre- and post-market rows are other times, and so is what lies before or after the grid.
    """
    if not len(grid) or not len(rows):
        return Made(BarColumns.of(rows.symbol, ()), ())
    parts = parts_of(grid, timeframe)
    part = np.searchsorted(parts.begin, rows.start, side="right") - 1
    hit = (part >= 0) & (rows.start < parts.until[part])
    sorted_out = _sort_out(rows, part, np.flatnonzero(hit), len(parts.bar))
    rejected = _misaligned(rows, grid, np.flatnonzero(~hit))
    rejected += [
        Rejection(rows.symbol, as_datetime(grid.end[parts.bar[part[i]]]), Flaw.ROW_TWICE, (_raw(rows, i),))
        for i in sorted_out.twice.tolist()
    ]
    flaws, present = _bar_flaws(rows, parts, sorted_out, len(grid))
    good = np.flatnonzero(present & (flaws == Flaw.NONE))
    bars = _merged(rows, grid, parts, sorted_out.row, good)
    rejected += _spoiled(rows, grid, parts, flaws, part, hit)
    return Made(bars, tuple(rejected))


@dataclass(frozen=True, eq=False)
class _SortedOut:
    """Of P parts: the number of its row (-1: none), and whether another row differs from it; and needless rows."""

    row: Places
    differs: Mask
    twice: Places


def _sort_out(rows: VendorBars, part: Places, hit: Places, count: int) -> _SortedOut:
    order = hit[np.argsort(part[hit], kind="stable")]
    places = part[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = places[1:] != places[:-1]
    row = np.full(count, -1, dtype=np.int64)
    row[places[first]] = order[first]
    more = order[~first]
    differs = np.zeros(count, dtype=bool)
    if not len(more):
        return _SortedOut(row, differs, more)
    kept = row[part[more]]
    same = np.logical_and.reduce([getattr(rows, name)[more] == getattr(rows, name)[kept] for name in _NUMBERS])
    same &= rows.start[more] == rows.start[kept]
    differs[part[more[~same]]] = True
    return _SortedOut(row, differs, more[same])


def _misaligned(rows: VendorBars, grid: Grid, missed: Places) -> list[Rejection]:
    place = np.searchsorted(grid.start, rows.start[missed], side="right") - 1
    inside = (place >= 0) & (rows.start[missed] < grid.end[place])
    return [
        Rejection(rows.symbol, as_datetime(grid.end[bar]), Flaw.ROW_MISALIGNED, (_raw(rows, i),))
        for i, bar in zip(missed[inside].tolist(), place[inside].tolist(), strict=True)
    ]


def _bar_flaws(rows: VendorBars, parts: Parts, found: _SortedOut, count: int) -> tuple[Flaws, Mask]:
    there = found.row >= 0
    numbers = np.zeros(len(there), dtype=np.uint8)
    numbers[there] = price_flaws(*(getattr(rows, name)[found.row[there]] for name in _NUMBERS))
    first, last = _ends(parts, count)
    flaws = np.where(numbers[first] != Flaw.NONE, numbers[first], numbers[last])
    flaws[~there[last]] = Flaw.SECOND_HALF_MISSING
    flaws[~there[first]] = Flaw.FIRST_HALF_MISSING
    flaws[found.differs[first] | found.differs[last]] = Flaw.ROWS_DIFFER
    present = there[first] | there[last]
    flaws[~present] = Flaw.NONE
    return flaws, present


def _ends(parts: Parts, count: int) -> tuple[Places, Places]:
    """Number the first and the last part of each bar."""
    numbers = np.arange(count)
    return np.searchsorted(parts.bar, numbers), np.searchsorted(parts.bar, numbers, side="right") - 1


def _merged(rows: VendorBars, grid: Grid, parts: Parts, row: Places, good: Places) -> BarColumns:
    first, last = _ends(parts, len(grid))
    one, two = row[first[good]], row[last[good]]
    return BarColumns(
        rows.symbol,
        grid.start[good],
        grid.end[good],
        rows.open[one],
        np.maximum(rows.high[one], rows.high[two]),
        np.minimum(rows.low[one], rows.low[two]),
        rows.close[two],
        np.where(one == two, rows.volume[one], rows.volume[one] + rows.volume[two]),
    )


def _spoiled(rows: VendorBars, grid: Grid, parts: Parts, flaws: Flaws, part: Places, hit: Mask) -> list[Rejection]:
    bad = np.flatnonzero(flaws)
    if not len(bad):
        return []
    bar = np.where(hit, parts.bar[part], -1)
    return [
        Rejection(
            rows.symbol,
            as_datetime(grid.end[i]),
            Flaw(int(flaws[i])),
            tuple(_raw(rows, n) for n in np.flatnonzero(bar == i).tolist()),
        )
        for i in bad.tolist()
    ]


def _raw(rows: VendorBars, i: int) -> dict[str, object]:
    return raw_row(rows.start[i], {name: float(getattr(rows, name)[i]) for name in _NUMBERS})
