from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from src.services.strategy_engine.domain.fit import FitBounds, PairFit, fit_pair, judge_fit
from src.services.strategy_engine.domain.reasons import FitReason
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid

GOOD = PairFit(alpha=0.1, beta=0.9, half_life_bars=12.0, z_window_bars=24, time_stop_bars=36, correlation=0.8)


def reverting(seed: int, bars: int = 400, pull: float = 0.1, beta: float = 0.8) -> tuple[Floats, Floats]:
    """Make closes whose spread is pulled back by `pull` of itself each bar."""
    rng = np.random.default_rng(seed)
    logs_2 = 4.0 + rng.normal(0, 0.01, bars).cumsum()
    spread = np.zeros(bars)
    for i in range(1, bars):
        spread[i] = (1 - pull) * spread[i - 1] + rng.normal(0, 0.004)
    return np.exp(0.3 + beta * logs_2 + spread), np.exp(logs_2)


@given(seed=st.integers(0, 10_000), pull=st.floats(0.02, 0.5), beta=st.floats(0.2, 2.5))
def test_the_fit_is_what_statsmodels_says(seed: int, pull: float, beta: float) -> None:
    closes_1, closes_2 = reverting(seed, pull=pull, beta=beta)

    fit = fit_pair(closes_1, closes_2)

    logs_1, logs_2 = np.log(closes_1), np.log(closes_2)
    line = sm.OLS(logs_1, sm.add_constant(logs_2)).fit()
    assert (fit.alpha, fit.beta) == pytest.approx(tuple(line.params), rel=1e-9, abs=1e-9)
    slope = sm.OLS(np.diff(line.resid), sm.add_constant(line.resid[:-1])).fit().params[1]
    assert fit.half_life_bars == pytest.approx(-math.log(2) / math.log(1 + slope), rel=1e-9)
    assert fit.correlation == pytest.approx(np.corrcoef(np.diff(logs_1), np.diff(logs_2))[0, 1], rel=1e-9)


def test_a_known_process_gives_its_own_half_life() -> None:
    fit = fit_pair(*reverting(seed=3, bars=50_000, pull=0.1))

    assert fit.beta == pytest.approx(0.8, abs=0.02)
    assert fit.half_life_bars == pytest.approx(-math.log(2) / math.log(0.9), rel=0.1)


@given(seed=st.integers(0, 500), pull=st.floats(0.01, 0.6))
def test_window_and_time_stop_follow_from_the_half_life(seed: int, pull: float) -> None:
    fit = fit_pair(*reverting(seed, pull=pull))

    assert fit.z_window_bars == math.ceil(min(max(10, 2 * fit.half_life_bars), 60))
    assert fit.time_stop_bars == math.ceil(3 * fit.half_life_bars)


def test_other_bounds_give_other_windows() -> None:
    closes = reverting(1)

    fit = fit_pair(*closes, FitBounds(min_window=40, max_window=45, time_stop_half_lives=1.0))

    assert 40 <= fit.z_window_bars <= 45
    assert fit.time_stop_bars == math.ceil(fit.half_life_bars)


@pytest.mark.parametrize("factor", [1.1, -1.1])
def test_a_spread_that_runs_away_or_overshoots_ever_wider_does_not_revert(factor: float) -> None:
    bars = np.arange(80)
    # The second leg swings with period four, so that the line can't take the spread for a part of it.
    closes_2 = np.exp(0.1 * np.sqrt(2) * np.cos(np.pi / 2 * bars + np.pi / 4))

    fit = fit_pair(closes_2 * np.exp(1e-4 * factor**bars), closes_2)

    assert math.isinf(fit.half_life_bars)
    assert (fit.z_window_bars, fit.time_stop_bars) == (60, 0)
    assert FitReason.NO_MEAN_REVERSION in judge_fit(fit)


def test_two_names_of_one_price_have_nothing_that_could_revert() -> None:
    closes = reverting(1)[1]

    assert math.isinf(fit_pair(closes * 2, closes).half_life_bars)


def test_rows_with_a_hole_are_left_out() -> None:
    closes_1, closes_2 = reverting(5)
    with_holes = np.insert(closes_1, [3, 100], np.nan), np.insert(closes_2, [3, 100], 77.0)

    assert fit_pair(*with_holes) == fit_pair(closes_1, closes_2)


@pytest.mark.parametrize(
    ("closes_1", "closes_2", "words"),
    [
        (np.full(29, 5.0), np.full(29, 5.0), "29 common bars"),
        (np.full(40, np.nan), np.full(40, 5.0), "0 common bars"),
        (np.full(40, 5.0), np.linspace(5, 9, 40), "never move"),
        (np.linspace(0, 9, 40), np.linspace(5, 9, 40), "not a positive number"),
        (np.append(np.linspace(5, 9, 39), math.inf), np.linspace(5, 9, 40), "not a positive number"),
    ],
)
def test_closes_that_can_not_be_fitted_are_refused(closes_1: Floats, closes_2: Floats, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        fit_pair(closes_1, closes_2)


def test_steady_growth_has_no_correlation_and_is_judged_so() -> None:
    growth = np.exp(np.arange(64) * 2.0**-6)

    assert FitReason.LOW_CORRELATION in judge_fit(fit_pair(growth, reverting(1, bars=64)[1]))


JUDGEMENTS = [
    (GOOD, []),
    (replace(GOOD, half_life_bars=5.0), []),
    (replace(GOOD, half_life_bars=72.0), []),
    (replace(GOOD, correlation=0.70), []),
    (replace(GOOD, half_life_bars=4.999), [FitReason.HALF_LIFE_SHORT]),
    (replace(GOOD, half_life_bars=72.001), [FitReason.HALF_LIFE_LONG]),
    (replace(GOOD, half_life_bars=math.inf), [FitReason.NO_MEAN_REVERSION]),
    (replace(GOOD, correlation=0.699), [FitReason.LOW_CORRELATION]),
    (replace(GOOD, correlation=-0.9), [FitReason.LOW_CORRELATION]),
    (replace(GOOD, correlation=math.nan), [FitReason.LOW_CORRELATION]),
    (replace(GOOD, beta=0.0), [FitReason.BETA_NOT_POSITIVE]),
    (replace(GOOD, beta=-1.0, correlation=0.1), [FitReason.BETA_NOT_POSITIVE, FitReason.LOW_CORRELATION]),
]


@pytest.mark.parametrize(("fit", "reasons"), JUDGEMENTS)
def test_a_fit_is_judged_by_its_bounds(fit: PairFit, reasons: list[FitReason]) -> None:
    assert judge_fit(fit) == reasons
