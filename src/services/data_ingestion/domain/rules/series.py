"""A stored series of bars with all that is known beside it: what the rules judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from src.services.data_ingestion.domain.rules.timetable import Ints, Timetable
from src.shared.domain.bars import BarColumns, Floats, Series

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """`ratio` new shares for one old from the open of `ex_date` on: unadjusted prices are divided by it."""

    ex_date: date
    ratio: float


@dataclass(frozen=True)
class Hole:
    """A run of bars that the calendar has and the series has not, by its place in the timetable."""

    first: int
    bars: int


@dataclass(frozen=True, eq=False)
class StoredSeries:
    """A series under judgement.

    `begins_earlier` says that it has bars before the timetable; `splits` are those known of its
    symbol; `others` are the series of other vendors with the same symbol, time frame and price basis; `status` is
    what is known of the symbol.
    """

    key: Series
    bars: BarColumns
    timetable: Timetable
    begins_earlier: bool = False
    splits: Sequence[Split] = ()
    others: Sequence[tuple[str, BarColumns]] = ()
    status: str = "active"
    status_reason: str = ""

    @cached_property
    def on_time(self) -> Flags:
        """Say of each bar whether the calendar has it, shape (N,)."""
        ends, starts = self.timetable.ends, self.timetable.starts
        if not len(ends):
            return np.zeros(len(self.bars), dtype=np.bool_)
        near = np.minimum(self._near, len(ends) - 1)
        found: Flags = (ends[near] == self.bars.end) & (starts[near] == self.bars.start)
        return found

    @cached_property
    def places(self) -> Ints:
        """Give the places in the timetable that have a bar, each once, in order."""
        places = self._near[self.on_time]
        # They come in order, so that equal ones are neighbours: no need to sort.
        return places[np.diff(places, prepend=-1) > 0]

    @cached_property
    def expected(self) -> range:
        """Name the places from the first bar (the timetable's, where the series begins earlier) to the last one."""
        if not len(self.places):
            return range(0)
        return range(0 if self.begins_earlier else int(self.places[0]), int(self.places[-1]) + 1)

    @cached_property
    def holes(self) -> list[Hole]:
        """List the runs of missing bars within `expected`, in order."""
        edges = np.concatenate([[self.expected.start - 1], self.places])
        lengths = np.diff(edges) - 1
        return [Hole(int(edges[i]) + 1, int(lengths[i])) for i in np.flatnonzero(lengths > 0)]

    @property
    def missing(self) -> int:
        """Count the bars in holes."""
        return len(self.expected) - len(self.places)

    @property
    def longest_hole(self) -> Hole | None:
        """Return the longest hole, the newest of equal ones."""
        return max(self.holes, key=lambda hole: (hole.bars, hole.first), default=None)

    @property
    def stale_bars(self) -> int:
        """Count the finished bars that the calendar has after the newest one."""
        return max(0, self.timetable.finished - (self.expected.stop if self.expected else 0))

    @cached_property
    def steps(self) -> Floats:
        """Log change of the close from bar to bar, shape (N − 1,); NaN where a close is no price."""
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(self.bars.close)
            changes: Floats = np.diff(logs)
        changes[~np.isfinite(changes)] = np.nan
        return changes

    @cached_property
    def skipped(self) -> Ints:
        """Count the bars missing between each bar and the next, shape (N − 1,)."""
        between: Ints = np.maximum(np.diff(self._near) - 1, 0)
        return between

    @cached_property
    def _near(self) -> Ints:
        return np.searchsorted(self.timetable.ends, self.bars.end)
