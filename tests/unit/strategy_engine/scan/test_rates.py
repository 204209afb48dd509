"""How often the scan finds what is not there, and how often what is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from src.services.strategy_engine.domain.fit import FitBounds
from src.services.strategy_engine.domain.scan.engle_granger import Lags, all_pairs, scan_pairs
from src.services.strategy_engine.domain.scan.funnel import FunnelBounds, sift
from src.shared.domain.bars import Floats
from tests.unit.strategy_engine.scan.markets import bound_pairs, independent, one_market

RATE = 0.05
MARKETS, SYMBOLS, BARS = 300, 12, 500
# All but one in a thousand series of as many honest draws stay at or below it.
MOST_FALSE = int(binom.ppf(1 - 1e-3, MARKETS, RATE))
ONLY_TESTED = FunnelBounds(
    max_p_value=RATE, fit=FitBounds(min_half_life=0.0, max_half_life=1e9, min_correlation=-1.0)
)


@pytest.mark.parametrize(("make", "lags"), [(independent, 1), (one_market, "aic")])
def test_random_walks_pass_the_tests_at_most_at_the_stated_rate(
    make: Callable[[int, int, int], Floats], lags: Lags
) -> None:
    """With nothing to find, a market with any discovery is a false one: its share is the rate itself."""
    legs, found = all_pairs(SYMBOLS), 0
    for seed in range(MARKETS):
        logs = make(seed, BARS, SYMBOLS)
        found += sift(scan_pairs(logs, legs, lags), logs, ONLY_TESTED).best.size > 0

    assert found <= MOST_FALSE


def test_without_the_control_of_many_tests_nearly_every_market_has_a_discovery() -> None:
    """The test above can fail: raw p-values do."""
    legs, found = all_pairs(SYMBOLS), 0
    for seed in range(100):
        found += bool((scan_pairs(independent(seed, BARS, SYMBOLS), legs, 1).p_value <= RATE).any())

    assert found > binom.ppf(1 - 1e-3, 100, RATE)


def test_of_one_pair_the_share_that_seems_cointegrated_is_the_rate() -> None:
    pairs = 2000
    logs = independent(1, BARS, 2 * pairs)

    p_values = scan_pairs(logs, np.arange(2 * pairs).reshape(pairs, 2).T, 1).p_value[0]

    for rate in (0.05, 0.2, 0.5):
        low, high = binom.ppf([1e-3, 1 - 1e-3], p_values.size, rate) / p_values.size
        assert low <= (p_values <= rate).mean() <= high


@pytest.mark.parametrize("lags", [1, "aic"])
def test_pairs_that_are_bound_to_each_other_are_found_among_all_others(lags: Lags) -> None:
    """Each second leg walks on its own, so only the neighbours belong together."""
    planted = found = false = 0
    for seed in range(20):
        logs = bound_pairs(seed, bars=800, pairs=6, pull=0.08, noise=0.003)
        legs = all_pairs(12)
        funnel = sift(scan_pairs(logs, legs, lags), logs)
        best = {tuple(sorted(pair)) for pair in legs[:, funnel.best].T.tolist()}
        neighbours = {(k, k + 1) for k in range(0, 12, 2)}
        planted, found, false = planted + 6, found + len(best & neighbours), false + len(best - neighbours)

    assert found >= 0.9 * planted
    assert false <= binom.ppf(1 - 1e-3, found + false, RATE)


def test_what_is_found_has_about_the_line_that_it_was_made_with() -> None:
    logs = bound_pairs(5, bars=1200, pairs=4, pull=0.08)

    funnel = sift(scan_pairs(logs, all_pairs(8), 1), logs)

    assert funnel.best.size == 4
    for pair in funnel.pairs(funnel.best):
        true = -np.log(2) / np.log(1 - 0.08)
        assert 0.5 * true < pair.half_life_bars < 1.5 * true
        assert pair.z_window_bars == np.ceil(2 * pair.half_life_bars)
