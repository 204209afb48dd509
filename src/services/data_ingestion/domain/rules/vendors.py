"""Whether two vendors tell the same: a rule, and what a repair asks before it takes a bar from another vendor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.timetable import shown
from src.services.data_ingestion.domain.rules.verdict import Number, Severity, Verdict, failed, passed
from src.shared.domain.bars import BarColumns

RECENT_BARS = 500
"""How many of the newest bars are compared: as many as decisions are made from. An old slip harms none of them."""

_BASIS_POINTS = 1e4


@dataclass(frozen=True)
class Agreement:
    """How far the closes of two series are apart on the bars that both have, in basis points of the price.

    `offset_bp` is the signed median: far from 0 it means another price basis. `worst_at` ends the bar of `worst_bp`.
    """

    bars: int
    median_bp: float
    worst_bp: float
    offset_bp: float
    worst_at: np.datetime64 | None


@dataclass(frozen=True)
class AgreementLimits:
    """What two vendors may differ by, and how many common bars say something about it."""

    min_bars: int
    max_median_bp: float
    max_worst_bp: float

    def objection(self, found: Agreement) -> str | None:
        """Say in one phrase why the two do not agree, if they do not."""
        if found.bars < self.min_bars:
            return f"{found.bars} common bars are too few to compare, {self.min_bars} are needed"
        if abs(found.offset_bp) > self.max_median_bp:
            return f"another price basis: the middle close is {found.offset_bp:+.0f} basis points away"
        if found.median_bp > self.max_median_bp:
            return f"closes are {found.median_bp:.0f} basis points apart in the middle"
        if found.worst_bp > self.max_worst_bp and found.worst_at is not None:
            return f"closes are {found.worst_bp:.0f} basis points apart at {shown(found.worst_at)}"
        return None


@dataclass(frozen=True)
class VendorsAgree:
    """Other vendors' closes of the newest bars, on the same price basis, are nearly the same."""

    limits: AgreementLimits
    name: ClassVar[str] = "vendors_agree"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Compare with every other vendor, and speak of the one that is furthest away."""
        newest = series.bars.take(slice(-RECENT_BARS, None))
        compared = [(vendor, compare(newest, columns)) for vendor, columns in series.others]
        known = [(vendor, found) for vendor, found in compared if found.bars >= self.limits.min_bars]
        if not known:
            return passed(self, "no other vendor to compare with", vendors=0)
        vendor, found = max(known, key=lambda each: (self.limits.objection(each[1]) is not None, each[1].worst_bp))
        numbers: dict[str, Number] = {
            "vendors": len(known),
            "vendor": vendor,
            "common_bars": found.bars,
            "median_bp": round(found.median_bp, 2),
            "worst_bp": round(found.worst_bp, 2),
            "worst_at": shown(found.worst_at) if found.worst_at is not None else None,
        }
        objection = self.limits.objection(found)
        if objection is None:
            return passed(self, "vendors agree", **numbers)
        return failed(self, f"against {vendor}: {objection}", **numbers)


def compare(one: BarColumns, other: BarColumns) -> Agreement:
    """Compare the closes of the bars that have the same start and end in both."""
    ends, here, there = np.intersect1d(one.end, other.end, return_indices=True)
    same = one.start[here] == other.start[there]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.log(one.close[here][same] / other.close[there][same]) * _BASIS_POINTS
    usable = np.isfinite(apart)
    apart, ends = apart[usable], ends[same][usable]
    if not len(apart):
        return Agreement(0, 0.0, 0.0, 0.0, None)
    distance = np.abs(apart)
    worst = int(distance.argmax())
    return Agreement(
        len(apart), float(np.median(distance)), float(distance[worst]), float(np.median(apart)), ends[worst]
    )


def others_of(series: StoredSeries, every: Sequence[StoredSeries]) -> list[tuple[str, BarColumns]]:
    """List the series of other vendors that can be compared with one."""
    key = series.key
    return [
        (each.key.vendor, each.bars)
        for each in every
        if each.key.vendor != key.vendor
        and (each.key.symbol, each.key.timeframe, each.key.adjustment) == (key.symbol, key.timeframe, key.adjustment)
    ]
