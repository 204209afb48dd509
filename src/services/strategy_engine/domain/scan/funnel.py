"""From a scan to the few pairs that are worth a trial: where each pair falls, why, and how the rest rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.services.strategy_engine.domain.fit import (
    DEFAULT_BOUNDS,
    MOST_BETA,
    FitBounds,
    time_stop_bars,
    window_bars,
)
from src.services.strategy_engine.domain.reasons import ScanReason
from src.services.strategy_engine.domain.scan.engle_granger import Codes, PairScan, ScanProblem
from src.services.strategy_engine.domain.scan.excursions import mean_absolute_z
from src.services.strategy_engine.domain.scan.multiple_testing import benjamini_hochberg
from src.shared.domain.bars import Floats, Ints

Flags = NDArray[np.bool_]


class FunnelStep(StrEnum):
    """The steps in their order; a pair falls at the first that it does not pass."""

    SESSIONS = "sessions"
    TESTABLE = "testable"
    CORRELATION = "correlation"
    COINTEGRATION = "cointegration"
    HEDGE_RATIO = "hedge_ratio"
    HALF_LIFE = "half_life"


STEP_OF_REASON = {
    ScanReason.FEW_COMMON_SESSIONS: FunnelStep.SESSIONS,
    ScanReason.NOT_SCANNED: FunnelStep.TESTABLE,
    ScanReason.TOO_FEW_BARS: FunnelStep.TESTABLE,
    ScanReason.FLAT_LEG: FunnelStep.TESTABLE,
    ScanReason.COLLINEAR_LEGS: FunnelStep.TESTABLE,
    ScanReason.SINGULAR: FunnelStep.TESTABLE,
    ScanReason.LOW_CORRELATION: FunnelStep.CORRELATION,
    ScanReason.NOT_COINTEGRATED: FunnelStep.COINTEGRATION,
    ScanReason.BETA_NOT_POSITIVE: FunnelStep.HEDGE_RATIO,
    ScanReason.BETA_TOO_LARGE: FunnelStep.HEDGE_RATIO,
    ScanReason.NO_MEAN_REVERSION: FunnelStep.HALF_LIFE,
    ScanReason.HALF_LIFE_SHORT: FunnelStep.HALF_LIFE,
    ScanReason.HALF_LIFE_LONG: FunnelStep.HALF_LIFE,
}
_REASONS = tuple(STEP_OF_REASON)
_PASSED = len(_REASONS)
_REASON_OF_PROBLEM = {
    ScanProblem.NOT_SCANNED: ScanReason.NOT_SCANNED,
    ScanProblem.TOO_SHORT: ScanReason.TOO_FEW_BARS,
    ScanProblem.FLAT_LEG: ScanReason.FLAT_LEG,
    ScanProblem.COLLINEAR: ScanReason.COLLINEAR_LEGS,
    ScanProblem.SINGULAR: ScanReason.SINGULAR,
}


@dataclass(frozen=True)
class FunnelBounds:
    """What a pair must keep; the bounds themselves are allowed. `fit` says of correlation, half-life and windows.

    `max_p_value` is the rate of false discoveries: p-values are held against it adjusted for everything tested.
    """

    max_p_value: float = 0.05
    min_common_sessions: int = 60
    fit: FitBounds = DEFAULT_BOUNDS


@dataclass(frozen=True)
class StepCount:
    """How many pairs came to a step and how many fell there."""

    step: FunnelStep
    came: int
    fell: int


@dataclass(frozen=True)
class ScannedPair:
    """Every number of one pair, of its better direction, and why it fell (None: it did not).

    `leg_1` and `leg_2` are columns of the scanned prices in that direction: ln P1 = alpha + beta · ln P2. `row` is
    its place in the scan. `adjusted_p` is by Benjamini and Hochberg over everything tested; `other_p` is the p-value
    of the direction not taken. `mean_abs_z` and `rank` are NaN for what fell. What can't be said is NaN, or infinite
    for a half-life.
    """

    row: int
    leg_1: int
    leg_2: int
    reason: ScanReason | None
    statistic: float
    p_value: float
    adjusted_p: float
    other_p: float
    lags: int
    alpha: float
    beta: float
    correlation: float
    half_life_bars: float
    z_window_bars: int
    time_stop_bars: int
    mean_abs_z: float
    rank: float

    @property
    def step(self) -> FunnelStep | None:
        """The step at which it fell; None: it passed them all."""
        return None if self.reason is None else STEP_OF_REASON[self.reason]


@dataclass(frozen=True, eq=False)
class Funnel:
    """The verdict on the P pairs of a scan, in the scan's order; all but `best` of shape (P,).

    `direction` is the row of the scan's better direction, the one with the smaller p-value: 0, leg 1 on leg 2, or 1,
    the reverse. `adjusted_p` is of that direction. `mean_abs_z` and `rank` are NaN for what fell. `best` (n,) has the
    places of those that passed, the highest rank first.
    """

    scan: PairScan
    bounds: FunnelBounds
    direction: Ints
    adjusted_p: Floats
    mean_abs_z: Floats
    rank: Floats
    best: Ints
    reasons: Codes

    def counts(self) -> tuple[StepCount, ...]:
        """Say at which step how many fell, in the order of the steps."""
        fallen = np.bincount(self.reasons, minlength=_PASSED + 1)
        counts, left = [], self.scan.count
        for step in FunnelStep:
            fell = sum(int(fallen[code]) for code, each in enumerate(_REASONS) if STEP_OF_REASON[each] is step)
            counts.append(StepCount(step, left, fell))
            left -= fell
        return tuple(counts)

    def reason(self, row: int) -> ScanReason | None:
        """Say why the pair in that place of the scan fell; None: it passed."""
        code = int(self.reasons[row])
        return None if code == _PASSED else _REASONS[code]

    def pairs(self, rows: Ints | None = None) -> Iterator[ScannedPair]:
        """Give the pairs in those places with every number, or all in the scan's order."""
        chosen = np.arange(self.scan.count) if rows is None else rows
        scan, ways = self.scan, self.direction[chosen]
        half_lives = scan.half_life_bars[ways, chosen]
        columns: dict[str, Any] = {
            "row": chosen,
            "leg_1": scan.legs[ways, chosen],
            "leg_2": scan.legs[1 - ways, chosen],
            "statistic": scan.statistic[ways, chosen],
            "p_value": scan.p_value[ways, chosen],
            "adjusted_p": self.adjusted_p[chosen],
            "other_p": scan.p_value[1 - ways, chosen],
            "lags": scan.lags[ways, chosen],
            "alpha": scan.alpha[ways, chosen],
            "beta": scan.beta[ways, chosen],
            "correlation": scan.correlation[chosen],
            "half_life_bars": half_lives,
            "z_window_bars": window_bars(half_lives, self.bounds.fit),
            "time_stop_bars": time_stop_bars(half_lives, self.bounds.fit),
            "mean_abs_z": self.mean_abs_z[chosen],
            "rank": self.rank[chosen],
        }
        for numbers in zip(*(column.tolist() for column in columns.values()), strict=True):
            values = dict(zip(columns, numbers, strict=True))
            yield ScannedPair(reason=self.reason(values["row"]), **values)


def sift(
    scan: PairScan,
    log_prices: Floats,
    bounds: FunnelBounds | None = None,
    common_sessions: Ints | None = None,
) -> Funnel:
    """Let the pairs of a scan fall through the steps, and rank those that pass: (1 − p) · |correlation| · mean |z|.

    Both directions of every pair that was tested count as tests. Of the two the one with the smaller p-value is
    taken, then the greater |t|. `log_prices` (T, S) are those of the scan; `common_sessions` (P,) is how many
    sessions a pair's legs share (None: enough). A pair that was left out of the tests for that reason stands in the
    scan with `PairScan.without_numbers`.
    """
    bounds = bounds or FunnelBounds()
    tested = scan.problem == ScanProblem.NONE
    adjusted = benjamini_hochberg(np.where(tested, scan.p_value, np.nan))  # (2, P)
    direction = _better(scan)
    rows = np.arange(scan.count)
    adjusted_p = np.where(tested, adjusted[direction, rows], 1.0)
    reasons = _reasons(scan, direction, adjusted_p, bounds, common_sessions)
    passed = np.flatnonzero(reasons == _PASSED)
    mean_abs_z, rank = np.full((2, scan.count), np.nan)
    ways = direction[passed]
    legs = np.stack([scan.legs[ways, passed], scan.legs[1 - ways, passed]])
    windows = window_bars(scan.half_life_bars[ways, passed], bounds.fit)
    mean_abs_z[passed] = mean_absolute_z(log_prices, legs, scan.beta[ways, passed], windows)
    rank[passed] = (1 - scan.p_value[ways, passed]) * np.abs(scan.correlation[passed]) * mean_abs_z[passed]
    best = passed[np.argsort(-rank[passed], kind="stable")]
    return Funnel(scan, bounds, direction, adjusted_p, mean_abs_z, rank, best, reasons)


def _better(scan: PairScan) -> Ints:
    smaller = scan.p_value[1] < scan.p_value[0]
    # Far out both p-values are 0, or 1.
    stronger = (scan.p_value[1] == scan.p_value[0]) & (scan.statistic[1] < scan.statistic[0])
    second: Ints = (smaller | stronger).astype(np.intp)
    return second


def _reasons(
    scan: PairScan, direction: Ints, adjusted_p: Floats, bounds: FunnelBounds, common_sessions: Ints | None
) -> Codes:
    rows = np.arange(scan.count)
    beta, half_life = scan.beta[direction, rows], scan.half_life_bars[direction, rows]
    fit = bounds.fit
    few = (
        np.zeros(scan.count, dtype=bool) if common_sessions is None else common_sessions < bounds.min_common_sessions
    )
    checks: dict[ScanReason, Flags] = {
        ScanReason.FEW_COMMON_SESSIONS: few,
        **{reason: scan.problem == problem for problem, reason in _REASON_OF_PROBLEM.items()},
        ScanReason.LOW_CORRELATION: ~(scan.correlation >= fit.min_correlation),
        ScanReason.NOT_COINTEGRATED: ~(adjusted_p <= bounds.max_p_value),
        ScanReason.BETA_NOT_POSITIVE: ~(beta > 0),
        ScanReason.BETA_TOO_LARGE: ~(beta < MOST_BETA),
        ScanReason.NO_MEAN_REVERSION: ~np.isfinite(half_life),
        ScanReason.HALF_LIFE_SHORT: half_life < fit.min_half_life,
        ScanReason.HALF_LIFE_LONG: half_life > fit.max_half_life,
    }
    fell = [checks[reason] for reason in _REASONS]
    codes: Codes = np.select(fell, list(range(_PASSED)), default=_PASSED).astype(np.uint8)
    return codes
