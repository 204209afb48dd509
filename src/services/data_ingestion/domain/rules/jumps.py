"""Rules on jumps of the price: each is read once, as what it most likely is.

A jump that comes back within a session is a spike. One that stays is a split that the series should not show, a price
basis that changed across a hole, or one that nothing explains: news, or a spin-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import exp, inf, log, sqrt
from typing import ClassVar, Final

import numpy as np

from src.services.data_ingestion.domain.rules.series import Split, StoredSeries
from src.services.data_ingestion.domain.rules.timetable import shown
from src.services.data_ingestion.domain.rules.verdict import Number, Rule, Severity, Verdict, failed, passed

SPLIT_RATIOS: Final = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
"""New shares for one old (or old ones for one new) that a jump is taken for a split by without its announcement.

Smaller ratios, such as 3 for 2, are a bad day's move too: they count where the split is known (down to 6 for 5).
"""

SPLIT_TOLERANCE = 0.03
"""How far, as a log, an unannounced split's jump may be from its ratio: what a night moves a price otherwise."""

_LEAST_SPLIT = log(1.2)
_NEIGHBOURS = 3
_ADJUSTED = ("split", "all")


@dataclass(frozen=True)
class JumpLimits:
    """What counts as a jump: a fraction of the price in one bar; across a hole, a multiple of the usual movement."""

    min_fraction: float
    hole_deviations: float

    @property
    def least(self) -> float:
        """Return the smallest jump as a log."""
        return log(1 + self.min_fraction)


@dataclass(frozen=True)
class Jump:
    """A change of the price between bar `at` and the one before; `ratio` is price after ÷ price before."""

    at: int
    ratio: float
    what: str


@dataclass(frozen=True)
class Jumps:
    """The jumps of a series by what they are."""

    spikes: Sequence[Jump]
    splits: Sequence[Jump]
    bases: Sequence[Jump]
    unexplained: Sequence[Jump]


@dataclass(frozen=True)
class Spike:
    """No price leaves its neighbours on both sides."""

    limits: JumpLimits
    name: ClassVar[str] = "spike"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look for jumps that come back within a session."""
        return _told(self, series, find_jumps(series, self.limits).spikes, "no price leaves its neighbours")


@dataclass(frozen=True)
class UnadjustedSplit:
    """A series that is adjusted for splits shows none."""

    limits: JumpLimits
    name: ClassVar[str] = "unadjusted_split"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look for known splits that are still in the price, and for jumps by a split's ratio that stay."""
        return _told(self, series, find_jumps(series, self.limits).splits, "no split is left in the prices")


@dataclass(frozen=True)
class BasisAcrossHole:
    """The price basis is the same on both sides of each hole."""

    limits: JumpLimits
    name: ClassVar[str] = "basis_across_hole"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look for a split's ratio, or more movement than the time explains, across holes of a session or more."""
        return _told(self, series, find_jumps(series, self.limits).bases, "the price basis is the same across holes")


@dataclass(frozen=True)
class UnexplainedJump:
    """A large move that stays has a reason, which a person may know."""

    limits: JumpLimits
    name: ClassVar[str] = "unexplained_jump"
    severity: ClassVar[Severity] = "warning"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look for jumps that are none of the other kinds."""
        return _told(self, series, find_jumps(series, self.limits).unexplained, "no jump without a reason")


# Four rules ask for it one after the other; a series is equal to itself alone.
@lru_cache(maxsize=1)
def find_jumps(series: StoredSeries, limits: JumpLimits) -> Jumps:
    """Tell the jumps of a series apart. Only what is larger than the limit is looked at one by one."""
    large = [int(i) for i in np.flatnonzero(np.abs(series.steps) > limits.least) + 1]
    spikes = _spikes(series, large)
    inside = {i for jump, last in spikes for i in (jump.at, last)}
    # A split comes before an open: where it is known, its place is looked at however small it is.
    known = _known_splits(series)
    splits, bases, unexplained = [], [], []
    usual = _usual_step(series) if large else 0.0
    for at in sorted({*large, *known} - inside):
        jump = _split(series, at, known.get(at)) if series.key.adjustment in _ADJUSTED else None
        if _is_across_hole(series, at):
            jump = jump or _too_far(series, at, usual, limits)
            bases += [jump] if jump else []
        elif jump is not None:
            splits.append(jump)
        elif at in large and not _is_explained(series, at, known.get(at)):
            ratio = _ratio(series, at)
            unexplained.append(Jump(at, ratio, f"the price changes by {ratio:.3g} times"))
    return Jumps([jump for jump, _ in spikes], splits, bases, unexplained)


def _told(rule: Rule, series: StoredSeries, jumps: Sequence[Jump], fine: str) -> Verdict:
    if not jumps:
        return passed(rule, fine, jumps=0)
    newest = jumps[-1]
    at = shown(series.bars.end[newest.at])
    numbers: dict[str, Number] = {"jumps": len(jumps), "ratio": round(newest.ratio, 4), "at": at}
    more = f", and {len(jumps) - 1} more" if len(jumps) > 1 else ""
    return failed(rule, f"{newest.what} at {at}{more}", **numbers)


def _spikes(series: StoredSeries, large: Sequence[int]) -> list[tuple[Jump, int]]:
    """Pair jumps that undo each other within a session; each with the bar on which the price is back."""
    found: list[tuple[Jump, int]] = []
    for at, back in pairwise(large):
        out, home = series.steps[at - 1], series.steps[back - 1]
        is_near = back - at <= series.timetable.bars_a_session
        is_free = not found or found[-1][1] < at
        if is_near and is_free and abs(out + home) < min(abs(out), abs(home)) / 2:
            ratio = exp(out)
            found.append((Jump(at, ratio, f"a price {ratio:.3g} times its neighbours"), back))
    return found


def _known_splits(series: StoredSeries) -> dict[int, Split]:
    """Find for each known split the first bar of its day or later, where there is a bar before it."""
    ends = series.bars.end
    found: dict[int, Split] = {}
    for split in series.splits:
        at = int(np.searchsorted(ends, np.datetime64(split.ex_date, "us")))
        if 0 < at < len(ends) and abs(log(split.ratio)) > _LEAST_SPLIT:
            found[at] = split
    return found


def _split(series: StoredSeries, at: int, known: Split | None) -> Jump | None:
    ratio = _ratio(series, at)
    if known is not None:
        if not _is_by(log(ratio), -log(known.ratio)):
            return None
        return Jump(at, ratio, f"the split of {known.ex_date} ({known.ratio:.4g} for 1) is not taken out")
    for size in SPLIT_RATIOS:
        for expected in (log(size), -log(size)):
            if abs(log(ratio) - expected) < SPLIT_TOLERANCE and _stays(series, at, expected):
                sort = "reverse split" if expected > 0 else "split"
                return Jump(at, ratio, f"the price changes by {ratio:.3g} times as by a {sort} that is not taken out")
    return None


def _too_far(series: StoredSeries, at: int, usual: float, limits: JumpLimits) -> Jump | None:
    step = float(series.steps[at - 1])
    bars = int(series.skipped[at - 1]) + 1
    if not abs(step) > max(limits.least, limits.hole_deviations * usual * sqrt(bars)):
        return None
    return Jump(at, exp(step), f"the price changes by {exp(step):.3g} times across a hole of {bars - 1} bars")


def _is_across_hole(series: StoredSeries, at: int) -> bool:
    return bool(series.skipped[at - 1] >= series.timetable.bars_a_session)


def _is_explained(series: StoredSeries, at: int, known: Split | None) -> bool:
    """Say whether prices as they were traded show a split that is known."""
    return known is not None and _is_by(log(_ratio(series, at)), -log(known.ratio))


def _is_by(change: float, expected: float) -> bool:
    """Say whether a log change is about what a split makes it, whatever else moved the price meanwhile."""
    return abs(change - expected) < abs(expected) / 3


def _ratio(series: StoredSeries, at: int) -> float:
    """Hold the open against the close before: what happened between the bars; the close where an open is no price."""
    before, after = float(series.bars.close[at - 1]), float(series.bars.open[at])
    return after / before if 0 < after < inf and 0 < before < inf else exp(float(series.steps[at - 1]))


def _stays(series: StoredSeries, at: int, expected: float) -> bool:
    close = series.bars.close
    after, before = np.median(close[at : at + _NEIGHBOURS]), np.median(close[max(0, at - _NEIGHBOURS) : at])
    return _is_by(log(after / before), expected)


def _usual_step(series: StoredSeries) -> float:
    """Estimate the deviation of a bar's change by the median: jumps do not move it."""
    quiet = np.abs(series.steps[series.skipped == 0])
    quiet = quiet[np.isfinite(quiet)]
    return 1.4826 * float(np.median(quiet)) if len(quiet) else 0.0
