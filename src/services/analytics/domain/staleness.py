"""Which rows of indicators are missing, or were made from bars that are no longer what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.shared.domain.bars import Floats, Moments, StoredBars

Mode = Literal["missing", "all"]


@dataclass(frozen=True)
class StandingRows:
    """The rows of indicators that are stored for one series, M of them, oldest first.

    `made_from` is the `recorded_at` of the bar that a row was made from; `is_current` says whether it was made by the
    set of indicators in force; `obv` is NaN where there is none.
    """

    end: Moments
    made_from: Moments
    is_current: NDArray[np.bool_]
    obv: Floats

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.end)


@dataclass(frozen=True)
class Plan:
    """What is to be done about one series: rows of the bars `start:stop` are written, and rows from `remove_from` go.

    `obv_at_first` is given where the series goes on from bars that are no longer stored.
    """

    start: int
    stop: int
    remove_from: np.datetime64 | None
    obv_at_first: float | None

    @property
    def rows(self) -> int:
        """Count the rows to be written."""
        return self.stop - self.start

    @property
    def is_idle(self) -> bool:
        """Say whether there is nothing to do."""
        return self.rows == 0 and self.remove_from is None


def plan(
    bars: StoredBars,
    rows: StandingRows,
    mode: Mode = "missing",
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
) -> Plan:
    """Decide what to write: every row from the first one on that is missing or stale.

    A value depends on all bars before its own, so a bar that came late or was restated makes every later row stale,
    and no earlier one. Rows of bars that end before `first` are left as they are, stale or not. Bars that end after
    `last` get no new row; rows that stand there already are brought along, or nobody would see that they are stale.

    Rows from before the first stored bar are what the archive has left behind, and stay; but where the row of that
    first bar was made from another bar than is stored, the series was replaced by one on another price basis that
    begins later, and they go.
    """
    if not len(bars):
        return Plan(0, 0, None, None)
    older = int(np.searchsorted(rows.end, bars.end[0]))
    at_first = older if older < len(rows) and rows.end[older] == bars.end[0] else None
    was_replaced = at_first is not None and rows.made_from[at_first] != bars.recorded_at[0]
    continues = older > 0 and at_first is not None and not was_replaced
    orphans = rows.end[~np.isin(rows.end, bars.end)][0 if was_replaced else older :]
    # What the archive took can't be worked out anew, so there `all` is what is missing.
    stale = bars.end if mode == "all" and not continues else bars.end[_stale(bars, rows)]
    doubtful = _within(np.concatenate([stale, orphans]), first, last)
    obv_at_first = float(rows.obv[older]) if continues else None
    if not len(doubtful):
        return Plan(0, 0, None, obv_at_first)
    return _from(bars, rows, doubtful.min(), last, obv_at_first)


def _stale(bars: StoredBars, rows: StandingRows) -> NDArray[np.bool_]:
    if not len(rows):
        return np.ones(len(bars), dtype=bool)
    places = np.minimum(np.searchsorted(rows.end, bars.end), len(rows) - 1)
    fresh = (rows.end[places] == bars.end) & (rows.made_from[places] == bars.recorded_at) & rows.is_current[places]
    stale: NDArray[np.bool_] = ~fresh
    return stale


def _within(ends: Moments, first: np.datetime64 | None, last: np.datetime64 | None) -> Moments:
    if first is not None:
        ends = ends[ends >= first]
    return ends if last is None else ends[ends <= last]


def _from(
    bars: StoredBars, rows: StandingRows, begin: np.datetime64, last: np.datetime64 | None, obv_at_first: float | None
) -> Plan:
    until = bars.end[-1] if last is None else max([last, *rows.end[-1:]])
    start, stop = int(np.searchsorted(bars.end, begin)), int(np.searchsorted(bars.end, until, side="right"))
    has_rows = len(rows) and rows.end[-1] >= begin
    return Plan(start, max(start, stop), begin if has_rows else None, obv_at_first)
