"""Where a pair falls, why, and how the others rank."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.fit import FitBounds, fit_pair, judge_fit
from src.services.strategy_engine.domain.reasons import ScanReason
from src.services.strategy_engine.domain.scan.engle_granger import PairScan, ScanProblem, all_pairs, scan_pairs
from src.services.strategy_engine.domain.scan.excursions import mean_absolute_z
from src.services.strategy_engine.domain.scan.funnel import STEP_OF_REASON, FunnelBounds, FunnelStep, StepCount, sift
from src.shared.domain.bars import Floats
from tests.unit.strategy_engine.scan.markets import bound_pairs, independent, one_market

PRICES = bound_pairs(1, pairs=1)
GOOD: dict[str, Any] = {
    "statistic": (-6.0, -5.5),
    "p_value": (1e-5, 1e-4),
    "alpha": (0.1, -0.1),
    "beta": (0.9, 1.1),
    "lags": (1, 2),
    "half_life_bars": (12.0, 13.0),
    "correlation": 0.8,
    "problem": 0,
}


def scan_of(*pairs: dict[str, Any]) -> PairScan:
    """Make a scan of pairs that are good but for what is given."""
    columns = {name: np.array([pair.get(name, good) for pair in pairs]).T for name, good in GOOD.items()}
    return PairScan(np.repeat([[0], [1]], len(pairs), axis=1), **columns)


FALLS: list[tuple[dict[str, Any], ScanReason]] = [
    ({"correlation": 0.699}, ScanReason.LOW_CORRELATION),
    ({"correlation": -0.9}, ScanReason.LOW_CORRELATION),
    ({"correlation": math.nan}, ScanReason.LOW_CORRELATION),
    ({"p_value": (0.051, 0.2)}, ScanReason.NOT_COINTEGRATED),
    ({"beta": (0.0, 1.1)}, ScanReason.BETA_NOT_POSITIVE),
    ({"beta": (-0.5, 1.1)}, ScanReason.BETA_NOT_POSITIVE),
    ({"beta": (100.0, 1.1)}, ScanReason.BETA_TOO_LARGE),
    ({"half_life_bars": (math.inf, 12.0)}, ScanReason.NO_MEAN_REVERSION),
    ({"half_life_bars": (4.99, 12.0)}, ScanReason.HALF_LIFE_SHORT),
    ({"half_life_bars": (72.1, 12.0)}, ScanReason.HALF_LIFE_LONG),
    ({"problem": ScanProblem.NOT_SCANNED}, ScanReason.NOT_SCANNED),
    ({"problem": ScanProblem.TOO_SHORT}, ScanReason.TOO_FEW_BARS),
    ({"problem": ScanProblem.FLAT_LEG}, ScanReason.FLAT_LEG),
    ({"problem": ScanProblem.COLLINEAR}, ScanReason.COLLINEAR_LEGS),
    ({"problem": ScanProblem.SINGULAR}, ScanReason.SINGULAR),
    # The first step that a pair does not pass is the one that counts.
    ({"problem": ScanProblem.FLAT_LEG, "correlation": 0.1}, ScanReason.FLAT_LEG),
    ({"correlation": 0.1, "p_value": (0.5, 0.5)}, ScanReason.LOW_CORRELATION),
    ({"p_value": (0.5, 0.5), "beta": (-1.0, -1.0)}, ScanReason.NOT_COINTEGRATED),
    ({"beta": (-1.0, -1.0), "half_life_bars": (1.0, 1.0)}, ScanReason.BETA_NOT_POSITIVE),
]
PASSES: list[dict[str, Any]] = [
    {},
    {"correlation": 0.70},
    {"half_life_bars": (5.0, 1.0)},
    {"half_life_bars": (72.0, 999.0)},
    {"p_value": (0.05, 0.05)},
    {"p_value": (0.9, 0.025)},
    {"beta": (99.9, -1.0)},
]


@pytest.mark.parametrize(("flaw", "reason"), FALLS)
def test_a_pair_falls_for_its_first_flaw(flaw: dict[str, Any], reason: ScanReason) -> None:
    funnel = sift(scan_of({}, flaw, {}), PRICES)

    assert [funnel.reason(row) for row in range(3)] == [None, reason, None]
    assert sorted(funnel.best.tolist()) == [0, 2]
    fell = {each.step: each.fell for each in funnel.counts() if each.fell}
    assert fell == {STEP_OF_REASON[reason]: 1}


@pytest.mark.parametrize("numbers", PASSES)
def test_the_bounds_themselves_are_allowed(numbers: dict[str, Any]) -> None:
    assert sift(scan_of(numbers), PRICES).reason(0) is None


def test_few_common_sessions_come_before_everything_else() -> None:
    scan = PairScan.joined([scan_of({}, {"correlation": 0.0}), PairScan.without_numbers(np.array([[0], [1]]))])

    funnel = sift(scan, PRICES, common_sessions=np.array([60, 59, 12]))

    few = ScanReason.FEW_COMMON_SESSIONS
    assert [funnel.reason(row) for row in range(3)] == [None, few, few]
    assert funnel.counts()[0] == StepCount(FunnelStep.SESSIONS, came=3, fell=2)


def test_steps_are_counted_one_after_the_other() -> None:
    scan = scan_of({}, *(flaw for flaw, _ in FALLS[:10]))

    counts = sift(scan, PRICES).counts()

    assert [each.step for each in counts] == list(FunnelStep)
    assert [each.fell for each in counts] == [0, 0, 3, 1, 3, 3]
    assert [each.came for each in counts] == [11, 11, 11, 8, 7, 4]


def test_both_directions_of_everything_tested_count_as_tests() -> None:
    one = scan_of({"p_value": (0.02, 0.9)})
    among_many = scan_of({"p_value": (0.02, 0.9)}, *[{"p_value": (0.9, 0.9)}] * 9)
    untested = scan_of({"p_value": (0.02, 0.9)}, *[{"problem": ScanProblem.FLAT_LEG}] * 9)

    assert sift(one, PRICES).adjusted_p[0] == pytest.approx(0.04)
    assert sift(among_many, PRICES).adjusted_p[0] == pytest.approx(0.4)
    assert sift(untested, PRICES).adjusted_p[0] == pytest.approx(0.04)
    assert sift(among_many, PRICES).reason(0) is ScanReason.NOT_COINTEGRATED


@pytest.mark.parametrize(
    ("p_value", "statistic", "way"),
    [
        ((0.01, 0.02), (-4.0, -3.9), 0),
        ((0.02, 0.01), (-3.9, -4.0), 1),
        ((0.0, 0.0), (-19.0, -20.0), 1),
        ((0.0, 0.0), (-20.0, -19.0), 0),
        ((0.01, 0.01), (-4.0, -4.0), 0),
    ],
)
def test_the_better_direction_is_taken(p_value: Any, statistic: Any, way: int) -> None:
    funnel = sift(scan_of({"p_value": p_value, "statistic": statistic}), PRICES)

    (pair,) = funnel.pairs()

    assert (pair.leg_1, pair.leg_2) == ((0, 1), (1, 0))[way]
    assert (pair.p_value, pair.other_p) == (p_value[way], p_value[1 - way])
    assert (pair.alpha, pair.beta, pair.lags) == (GOOD["alpha"][way], GOOD["beta"][way], GOOD["lags"][way])
    assert (pair.half_life_bars, pair.z_window_bars) == ((12.0, 24), (13.0, 26))[way]


def test_the_rank_is_of_p_correlation_and_mean_z() -> None:
    funnel = sift(scan_of({"correlation": 0.75}, {"correlation": 0.95}, {"correlation": 0.5}), PRICES)

    best = list(funnel.pairs(funnel.best))

    assert [pair.row for pair in best] == [1, 0]
    for pair in best:
        z = mean_absolute_z(PRICES, np.array([[0], [1]]), np.array([0.9]), np.array([24]))[0]
        assert pair.mean_abs_z == pytest.approx(z)
        assert pair.rank == pytest.approx((1 - 1e-5) * pair.correlation * z)
    fallen = next(funnel.pairs(np.array([2])))
    assert math.isnan(fallen.rank) and fallen.step is FunnelStep.CORRELATION


def test_every_pair_is_told_with_every_number_though_it_fell() -> None:
    logs = one_market(3, symbols=6)

    told = list(sift(scan_pairs(logs, all_pairs(6)), logs).pairs())

    assert [pair.row for pair in told] == list(range(15))
    assert all(pair.reason is not None and pair.step is not None for pair in told)
    assert all(math.isfinite(pair.statistic + pair.adjusted_p + pair.beta + pair.correlation) for pair in told)


def test_no_pairs_fall_nowhere() -> None:
    funnel = sift(PairScan.joined([]), PRICES)

    assert funnel.best.size == 0 and list(funnel.pairs()) == []
    assert sum(each.came + each.fell for each in funnel.counts()) == 0


@given(seed=st.integers(0, 5_000), pull=st.floats(0.01, 0.5))
@settings(max_examples=40, deadline=None)
def test_a_survivor_is_one_that_a_single_fit_would_accept(seed: int, pull: float) -> None:
    logs = bound_pairs(seed, bars=400, pairs=3, pull=pull)
    bounds = FunnelBounds(fit=FitBounds(min_correlation=0.5))

    funnel = sift(scan_pairs(logs, all_pairs(6), 1), logs, bounds)

    for pair in funnel.pairs(funnel.best):
        fit = fit_pair(np.exp(logs[:, pair.leg_1]), np.exp(logs[:, pair.leg_2]), bounds.fit)
        assert judge_fit(fit, bounds.fit) == []
        assert pair.adjusted_p <= 0.05
        assert (pair.z_window_bars, pair.time_stop_bars) == (fit.z_window_bars, fit.time_stop_bars)
    assert sum(each.fell for each in funnel.counts()) + funnel.best.size == 15


def rolling_z(spread: Floats, window: int) -> float:
    column = pd.Series(spread)
    rolling = column.rolling(window)
    return float(((column - rolling.mean()) / rolling.std(ddof=1)).abs().mean())


@given(seed=st.integers(0, 5_000), windows=st.lists(st.integers(3, 60), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_mean_z_is_that_of_pandas(seed: int, windows: list[int]) -> None:
    logs = independent(seed, bars=90, symbols=2)
    betas = np.linspace(0.2, 2, len(windows))

    found = mean_absolute_z(logs, np.repeat([[0], [1]], len(windows), axis=1), betas, np.array(windows))

    expected = [rolling_z(logs[:, 0] - b * logs[:, 1], w) for b, w in zip(betas.tolist(), windows, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_a_spread_that_never_moves_has_no_mean_z() -> None:
    logs = np.column_stack([np.full(50, 4.0), np.full(50, 3.0)])

    assert np.isnan(mean_absolute_z(logs, np.array([[0], [1]]), np.ones(1), np.array([10]))).all()


def test_looser_bounds_let_more_through() -> None:
    scan = scan_of({"correlation": 0.6}, {"half_life_bars": (90.0, 90.0)}, {"p_value": (0.2, 0.2)})
    loose = FunnelBounds(max_p_value=0.5, fit=replace(FitBounds(), min_correlation=0.5, max_half_life=100))

    assert sift(scan, PRICES).best.size == 0
    assert sift(scan, PRICES, loose).best.size == 3
