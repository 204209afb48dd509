"""What a repair would fill a series' gaps with, and whether the other vendor's bars may stand in it.

A bar is taken from another vendor only where both tell nearly the same on either side of the gap, and only if the
series breaks no rule with it that it kept without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.services.data_ingestion.domain.rules.judging import judge
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.vendors import Agreement, AgreementLimits, compare
from src.services.data_ingestion.domain.rules.verdict import Rule
from src.shared.domain.bars import BarColumns, Moments, Series

SIDE_BARS = 100
"""How many bars on either side of the gaps are compared: what agreed a year ago says little."""


@dataclass(frozen=True, eq=False)
class RepairPlan:
    """The gaps of a series (the ends of the bars that it lacks) and what another vendor has for them.

    `objection` says why nothing may be filled; then `fill` is empty.
    """

    series: Series
    vendor: str
    missing: Moments
    fill: BarColumns
    agreement: Agreement
    objection: str | None = None


def plan_repair(
    series: StoredSeries, vendor: str, offered: BarColumns, window: tuple[np.datetime64, np.datetime64],
    limits: AgreementLimits, rules: Sequence[Rule],
) -> RepairPlan:  # fmt: skip
    """Find what is missing of a series in the window (bars that end in it) and what may be taken of `offered`."""
    missing = _missing(series, window)
    fill = offered.take(np.isin(offered.end, missing))
    fill = fill.take(_on_time(series, fill))
    agreement = compare(series.bars, offered)
    objection = _objection(series, offered, fill, limits, rules) if len(missing) else None
    return RepairPlan(series.key, vendor, missing, fill if objection is None else fill.take([]), agreement, objection)


def _missing(series: StoredSeries, window: tuple[np.datetime64, np.datetime64]) -> Moments:
    ends = series.timetable.ends[: series.timetable.finished]
    within = ends[(ends >= window[0]) & (ends <= window[1])]
    return within[~np.isin(within, series.bars.end)]


def _on_time(series: StoredSeries, bars: BarColumns) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return StoredSeries(series.key, bars, series.timetable).on_time


def _objection(
    series: StoredSeries, offered: BarColumns, fill: BarColumns, limits: AgreementLimits, rules: Sequence[Rule]
) -> str | None:
    if not len(fill):
        return "it has none of the missing bars"
    return _disagreement(series.bars, offered, fill, limits) or _new_fault(series, fill, rules)


def _disagreement(bars: BarColumns, offered: BarColumns, fill: BarColumns, limits: AgreementLimits) -> str | None:
    """Compare before and after the gaps apart: a basis that changes across them agrees with one side alone."""
    before = bars.take(bars.end < fill.end[0]).take(slice(-SIDE_BARS, None))
    after = bars.take(bars.end > fill.end[-1]).take(slice(0, SIDE_BARS))
    sides = {"before": compare(before, offered), "after": compare(after, offered)}
    told = {name: found for name, found in sides.items() if found.bars}
    if not told:
        return limits.objection(sides["before"])
    faults = [f"{name} the gap, {fault}" for name, found in told.items() if (fault := limits.objection(found))]
    return faults[0] if faults else None


def _new_fault(series: StoredSeries, fill: BarColumns, rules: Sequence[Rule]) -> str | None:
    whole = BarColumns.joined(series.key.symbol, [series.bars, fill])
    alone = replace(series, others=())
    repaired = replace(alone, bars=whole.take(np.argsort(whole.end, kind="stable")))
    before = {verdict.rule for verdict in judge(alone, rules) if verdict.blocks}
    new = [verdict for verdict in judge(repaired, rules) if verdict.blocks and verdict.rule not in before]
    return f"with them {new[0].reason} ({new[0].rule})" if new else None
