"""On which basis of prices a series stands: never on two.

A vendor that adjusts prices changes all of them before the day of a split (or of a dividend) by one factor. Bars that
are stored are therefore asked for again with each load; if they come back with another factor, the whole series is
read anew and replaced at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from src.services.data_ingestion.domain.differences import Written
from src.shared.domain.bars import BarColumns, Floats, Moments, Series
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.errors import Transient

OVERLAP_BARS = 5
"""So many stored bars are asked for again with each load of a series."""

LEAST_KEPT = 0.9
"""A history on a new price basis replaces the old one if it has at least this part of its bars."""

OVERLAP_DIFFERS = "stored bars came back with other prices"

LATE_DAYS = 10
"""So long after its day a vendor may still come to adjust for a company's action."""

_COMMON = 0.9
_MOST = 0.5
# Vendors round: prices to a cent or a hundredth of it.
_RELATIVE = 1e-4
_CENT = 0.01

_PRICES = ("open", "high", "low", "close")
_ADJUSTED_FOR = {
    "raw": frozenset[CorporateActionKind](),
    "split": frozenset({CorporateActionKind.SPLIT}),
    "dividend": frozenset({CorporateActionKind.CASH_DIVIDEND}),
    "all": frozenset({CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND}),
}


def adjusted_for(adjustment: str) -> frozenset[CorporateActionKind]:
    """Name what prices of an adjustment are adjusted for."""
    return _ADJUSTED_FOR[adjustment]


def common_factor(stored: BarColumns, bars: BarColumns) -> float | None:
    """Say by which factor bars differ from the stored ones of the same times; None where they share the basis.

    Nine of ten prices must differ by it: a bar that its vendor restated alone is no other basis.
    """
    old, new = _prices_of_both(stored, bars)
    if not old.size:
        return None
    ratios = new / old
    tolerance = _RELATIVE + _CENT / np.minimum(old, new)
    factor = float(np.median(ratios))
    if abs(factor - 1) <= float(np.median(tolerance)):
        return None
    agreeing = np.abs(ratios / factor - 1) <= tolerance
    return factor if agreeing.mean() >= _COMMON else None


class OtherBasis(Transient):
    """Bars differ by one factor from the stored ones of the same times. Nothing was written: read the series anew."""

    @classmethod
    def of(cls, series: Series, factor: float) -> OtherBasis:
        """Say it of a series and the factor that its prices were multiplied by."""
        return cls(f"{series.symbol}: what came differs from what is stored by a factor of {factor:.6g}")


class Overtaken(Transient):
    """Another load has put the series on another basis meanwhile. Nothing was written: begin again."""

    @classmethod
    def of(cls, series: Series) -> Overtaken:
        """Say it of a series."""
        return cls(f"{series.symbol}: another load has put it on another price basis meanwhile")


@dataclass(frozen=True)
class Rebase:
    """A series was put on another basis: its prices were multiplied by `factor`, up to the bar that ended then."""

    series: Series
    factor: float
    effective_at: datetime
    reason: str
    version: int


@dataclass(frozen=True)
class Replaced:
    """What became of a series that was read anew; `rebase` is None where its basis was the same after all."""

    written: Written
    rebase: Rebase | None

    @property
    def said(self) -> str:
        """What was done, in words."""
        if self.rebase is None:
            return "its history was read anew; its price basis is the same"
        return f"its price basis changed by a factor of {self.rebase.factor:.6g}, its history was replaced"


@dataclass(frozen=True, eq=False)
class Replacement:
    """A whole series read anew against the stored one: what goes to the history, what is written, what stays.

    `factor` is None where the basis has not changed after all: then only what was restated is replaced.
    """

    superseded: Moments
    to_write: BarColumns
    new: int
    unchanged: int
    factor: float | None


def replacement(stored: BarColumns, bars: BarColumns) -> Replacement | None:
    """Compare a whole series with the stored one; None where it has too few of its bars to take its place.

    On a new basis a stored bar that the vendor does not have any more goes too.
    """
    again = np.isin(stored.end, bars.end)
    if again.sum() < LEAST_KEPT * len(stored):
        return None
    place = np.minimum(np.searchsorted(stored.end, bars.end), max(0, len(stored) - 1))
    there = stored.end[place] == bars.end if len(stored) else np.zeros(len(bars), dtype=bool)
    same = there.copy()
    for mine, theirs in zip(bars.columns, stored.columns, strict=True):
        same[there] &= mine[there] == theirs[place[there]]
    factor = _factor_of_most(stored, bars)
    changed = bars.end[there & ~same]
    superseded = changed if factor is None else np.union1d(changed, stored.end[~again])
    return Replacement(superseded, bars.take(~same), int((~there).sum()), int(same.sum()), factor)


def _factor_of_most(stored: BarColumns, bars: BarColumns) -> float | None:
    old, new = _prices_of_both(stored, bars)
    if not old.size:
        return None
    ratios = new / old
    differing = np.abs(ratios - 1) > _RELATIVE + _CENT / np.minimum(old, new)
    return float(np.median(ratios[differing])) if differing.mean() >= _MOST else None


def _prices_of_both(stored: BarColumns, bars: BarColumns) -> tuple[Floats, Floats]:
    """Return the prices of the bars that both have, stored ones first, each of shape (4 · common,)."""
    _, theirs, mine = np.intersect1d(stored.end, bars.end, return_indices=True)
    old = np.concatenate([getattr(stored, name)[theirs] for name in _PRICES])
    new = np.concatenate([getattr(bars, name)[mine] for name in _PRICES])
    return old, new
