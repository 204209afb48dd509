"""The scan says of every pair what statsmodels says, both ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.fit import fit_pair
from src.services.strategy_engine.domain.scan.engle_granger import (
    TILE,
    Lags,
    PairScan,
    ScanProblem,
    all_pairs,
    default_max_lag,
    scan_pairs,
)
from src.shared.domain.bars import Floats, Ints
from src.shared.domain.errors import InputInvalid
from tests.unit.strategy_engine.scan.markets import (
    assert_equal_to_statsmodels,
    bound_pairs,
    independent,
    one_market,
)

MARKETS = {
    "independent": independent(1),
    "one market": one_market(2),
    "bound pairs": bound_pairs(3, bars=301, pairs=4),
}
NUMBERS = ("statistic", "p_value", "alpha", "beta", "lags", "half_life_bars", "correlation", "problem")


def assert_same(one: PairScan, other: PairScan) -> None:
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("lags", [0, 1, 2, 7, 25])
@pytest.mark.parametrize("market", MARKETS)
def test_fixed_lags_are_those_of_statsmodels(market: str, lags: int) -> None:
    logs = MARKETS[market]

    scan = scan_pairs(logs, all_pairs(8), lags)

    for pair in range(0, 28, 3):
        assert_equal_to_statsmodels(scan, logs, pair, lags)


@pytest.mark.parametrize("max_lag", [None, 0, 3, 30])
@pytest.mark.parametrize("market", MARKETS)
def test_lags_by_akaike_are_those_of_statsmodels(market: str, max_lag: int | None) -> None:
    logs = MARKETS[market]

    scan = scan_pairs(logs, all_pairs(8), "aic", max_lag)

    for pair in range(0, 28, 5):
        assert_equal_to_statsmodels(scan, logs, pair, "aic", max_lag)


def test_several_lags_are_chosen_among_pairs_whose_returns_remember() -> None:
    rng = np.random.default_rng(4)
    steps = rng.normal(0, 0.01, (406, 6))
    logs = 4 + (steps[6:] + 0.6 * steps[3:-3] - 0.5 * steps[:-6]).cumsum(axis=0)

    scan = scan_pairs(logs, all_pairs(6))

    assert len(set(scan.lags.ravel().tolist())) > 2 and scan.lags.min() > 5
    for pair in range(15):
        assert_equal_to_statsmodels(scan, logs, pair, "aic")


@pytest.mark.parametrize(("bars", "max_lag"), [(3, 0), (5, 1), (8, 2), (20, 4), (29, None)])
def test_short_series_are_those_of_statsmodels(bars: int, max_lag: int | None) -> None:
    logs = independent(bars, bars=bars, symbols=3)

    scan = scan_pairs(logs, all_pairs(3), "aic", max_lag)

    for pair in range(3):
        assert_equal_to_statsmodels(scan, logs, pair, "aic", max_lag)


@pytest.mark.parametrize("lags", [1, "aic"])
@pytest.mark.parametrize("noise", [3e-3, 1e-3, 3e-4, 1e-4])
def test_legs_that_are_nearly_one_lose_no_digits(noise: float, lags: Lags) -> None:
    logs = bound_pairs(6, bars=1000, pairs=1, noise=noise)

    scan = scan_pairs(logs, all_pairs(2), lags)

    assert_equal_to_statsmodels(scan, logs, 0, lags)


def test_more_symbols_than_a_tile_are_the_same_as_pair_by_pair() -> None:
    logs = one_market(7, bars=120, symbols=TILE + 9)
    legs = all_pairs(TILE + 9)
    some = np.array([0, TILE - 2, TILE - 1, TILE, legs.shape[1] // 2, legs.shape[1] - 1])

    scan = scan_pairs(logs, legs)

    for pair in some.tolist():
        alone = legs[:, [pair]]
        assert_same(
            scan_pairs(logs, alone),
            PairScan(alone, *(getattr(scan, name)[..., [pair]] for name in NUMBERS)),
        )
        assert_equal_to_statsmodels(scan, logs, pair, "aic")


@given(
    seed=st.integers(0, 10_000),
    bars=st.integers(12, 90),
    symbols=st.integers(2, 7),
    lags=st.sampled_from([0, 1, 3, "aic"]),
    pairs=st.integers(0, 30),
)
@settings(max_examples=60, deadline=None)
def test_a_pair_is_the_same_wherever_it_stands_and_swapping_legs_swaps_directions(
    *, seed: int, bars: int, symbols: int, lags: Lags, pairs: int
) -> None:
    logs = one_market(seed, bars, symbols)
    rng = np.random.default_rng(seed)
    legs = np.stack([rng.permutation(symbols)[:2] for _ in range(pairs)], axis=1) if pairs else np.empty((2, 0), int)
    every = all_pairs(symbols)
    place = {(int(a), int(b)): k for k, (a, b) in enumerate(every.T.tolist())}

    scan, whole = scan_pairs(logs, legs, lags), scan_pairs(logs, every, lags)

    assert scan.count == pairs
    for k, (a, b) in enumerate(legs.T.tolist()):
        at, swapped = place[min(a, b), max(a, b)], a > b
        for name in NUMBERS:
            one, other = getattr(scan, name)[..., k], getattr(whole, name)[..., at]
            expected = other[::-1] if swapped and np.ndim(other) else other
            np.testing.assert_allclose(one, expected, rtol=1e-7, atol=1e-9, err_msg=name)


@given(seed=st.integers(0, 10_000), shift=st.floats(-3, 3), scale=st.floats(0.2, 5))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_a_price_changes_nothing_but_the_line(seed: int, shift: float, scale: float) -> None:
    logs = one_market(seed, bars=80, symbols=3)
    legs = all_pairs(3)

    scan, other = scan_pairs(logs, legs, 2), scan_pairs(logs * scale + shift, legs, 2)

    np.testing.assert_allclose(scan.statistic, other.statistic, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(scan.beta, other.beta, rtol=1e-8)


def test_line_half_life_and_correlation_are_those_of_a_single_fit() -> None:
    logs = bound_pairs(8, pairs=4)
    legs = all_pairs(8)

    scan = scan_pairs(logs, legs, 1)

    for pair in range(scan.count):
        for way in (0, 1):
            y, x = legs[way, pair], legs[1 - way, pair]
            fit = fit_pair(np.exp(logs[:, y]), np.exp(logs[:, x]))
            assert scan.alpha[way, pair] == pytest.approx(fit.alpha, rel=1e-9, abs=1e-9)
            assert scan.beta[way, pair] == pytest.approx(fit.beta, rel=1e-9)
            assert scan.half_life_bars[way, pair] == pytest.approx(fit.half_life_bars, rel=1e-8)
            assert scan.correlation[pair] == pytest.approx(fit.correlation, rel=1e-9)


def with_column(column: Floats) -> Floats:
    return np.column_stack([independent(9, bars=60, symbols=2), column])


WALK = independent(10, bars=60, symbols=1)[:, 0]
HOPELESS = {
    "a leg that never moves": (np.full(60, 4.2), ScanProblem.FLAT_LEG),
    "a leg that moves by rounding": (4.2 + 1e-15 * np.arange(60), ScanProblem.FLAT_LEG),
    "the first leg again": (independent(9, bars=60, symbols=2)[:, 0], ScanProblem.COLLINEAR),
    "the first leg, twice as volatile": (1 + 2 * independent(9, bars=60, symbols=2)[:, 0], ScanProblem.COLLINEAR),
    "the first leg mirrored": (-independent(9, bars=60, symbols=2)[:, 0], ScanProblem.COLLINEAR),
}


@pytest.mark.parametrize("what", HOPELESS)
@pytest.mark.parametrize("lags", [0, 2, "aic"])
def test_a_pair_that_can_not_be_tested_says_why_and_harms_no_other(what: str, lags: Lags) -> None:
    column, problem = HOPELESS[what]
    logs = with_column(column)

    scan = scan_pairs(logs, np.array([[0, 0], [2, 1]]), lags)

    assert scan.problem.tolist() == [problem, ScanProblem.NONE]
    assert np.isnan(scan.statistic[:, 0]).all()
    assert scan.p_value[:, 0].tolist() == [1, 1]
    assert np.isinf(scan.half_life_bars[:, 0]).all()
    assert_equal_to_statsmodels(scan, logs, 1, lags)


def test_two_waves_of_one_length_leave_nothing_to_test() -> None:
    turn = np.arange(200) * 0.3
    logs = np.column_stack([np.sin(turn), np.cos(turn)])

    scan = scan_pairs(logs, all_pairs(2), 5)

    assert scan.problem.tolist() == [ScanProblem.SINGULAR]
    assert scan.p_value.ravel().tolist() == [1, 1]


def test_a_symbol_against_itself_is_collinear() -> None:
    scan = scan_pairs(independent(1, symbols=2), np.array([[1], [1]]))

    assert scan.problem.tolist() == [ScanProblem.COLLINEAR]


@pytest.mark.parametrize(
    ("bars", "lags"), [(0, "aic"), (1, "aic"), (20, "aic"), (2, 0), (5, 2), (6, 2), (50, 24), (50, 25)]
)
def test_too_few_bars_for_the_lags_are_said_of_every_pair(bars: int, lags: Lags) -> None:
    scan = scan_pairs(independent(1, bars=bars, symbols=3), all_pairs(3), lags)

    assert scan.problem.tolist() == [ScanProblem.TOO_SHORT] * 3
    assert (scan.p_value == 1).all()


def test_one_bar_more_is_enough() -> None:
    logs = independent(1, bars=51, symbols=2)

    scan = scan_pairs(logs, all_pairs(2), 24)

    assert scan.problem.tolist() == [ScanProblem.NONE]
    assert_equal_to_statsmodels(scan, logs, 0, 24)


def test_no_pairs_and_no_symbols_give_an_empty_scan() -> None:
    assert scan_pairs(independent(1), np.empty((2, 0), dtype=np.intp)).count == 0
    assert scan_pairs(np.empty((100, 0)), all_pairs(0)).count == 0
    assert PairScan.joined([]).count == 0


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_a_hole_in_the_prices_is_refused(hole: float) -> None:
    logs = independent(1)
    logs[7, 3] = hole

    with pytest.raises(InputInvalid, match="missing or no number"):
        scan_pairs(logs, all_pairs(8))


@pytest.mark.parametrize(
    ("legs", "lags", "words"),
    [
        (np.array([[0], [8]]), 1, "names no column: there are 8"),
        (np.array([[-1], [0]]), 1, "names no column"),
        (np.array([0, 1]), 1, "of shape"),
        (all_pairs(2), -1, "-1 lags"),
    ],
)
def test_what_names_no_scan_is_refused(legs: Ints, lags: int, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        scan_pairs(independent(1), legs, lags)


def test_the_prices_are_left_as_they_are() -> None:
    logs = independent(1)
    before = logs.copy()

    scan_pairs(logs, all_pairs(8))

    assert (logs == before).all()


def test_parts_of_a_scan_join_to_the_whole() -> None:
    logs, legs = one_market(11), all_pairs(8)

    whole = scan_pairs(logs, legs)
    joined = PairScan.joined([scan_pairs(logs, legs[:, :10]), scan_pairs(logs, legs[:, 10:])])

    assert (joined.legs == whole.legs).all()
    assert_same(joined, whole)


@pytest.mark.parametrize(("bars", "lags"), [(0, 0), (1, 0), (4, 1), (100, 12), (500, 18), (1200, 23)])
def test_as_many_lags_are_tried_as_schwert_says(bars: int, lags: int) -> None:
    assert default_max_lag(bars) == lags
