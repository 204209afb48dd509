from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.tsa.vector_ar.vecm import VECM, coint_johansen

from src.services.strategy_engine.domain.fit import FitBounds, half_life_of_spread
from src.services.strategy_engine.domain.johansen import BasketFit, fit_basket
from src.services.strategy_engine.domain.reasons import BasketReason
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid


def basket(seed: int, legs: int = 3, bars: int = 800, pull: float = 0.08) -> tuple[Floats, Floats]:
    """Make closes of which the last leg is a mix of the others and a spread that reverts; and the true weights."""
    rng = np.random.default_rng(seed)
    walks = rng.normal(0, 0.01, (bars, legs - 1)).cumsum(axis=0)
    mix = rng.uniform(0.3, 1.0, legs - 1)
    spread = np.zeros(bars)
    for t, step in enumerate(rng.normal(0, 0.003, bars - 1).tolist(), start=1):
        spread[t] = (1 - pull) * spread[t - 1] + step
    weights = np.append(mix, -1.0) / (mix.sum() + 1)
    return np.exp(4 + np.column_stack([walks, walks @ mix + spread])), weights


def walks(seed: int, legs: int = 4, bars: int = 800) -> Floats:
    closes: Floats = np.exp(4 + np.random.default_rng(seed).normal(0, 0.01, (bars, legs)).cumsum(axis=0))
    return closes


@pytest.mark.parametrize("legs", [3, 5, 12])
@pytest.mark.parametrize("lags", [0, 1, 3])
def test_trace_and_relations_are_those_of_statsmodels(legs: int, lags: int) -> None:
    closes, _ = basket(legs, legs)

    fit = fit_basket(closes, lags=lags, confidence=0.99)

    said = coint_johansen(np.log(closes), 0, lags)
    assert fit.trace == pytest.approx(said.lr1.tolist())
    assert fit.critical == pytest.approx(said.cvt[:, 2].tolist())
    above = [trace > critical for trace, critical in zip(fit.trace, fit.critical, strict=True)]
    assert fit.relations == (above.index(False) if False in above else legs)


def test_relations_are_counted_until_the_first_that_does_not_hold() -> None:
    fit = fit_basket(walks(13, 3, 200), confidence=0.90)

    assert [trace > critical for trace, critical in zip(fit.trace, fit.critical, strict=True)] == [False, False, True]
    assert fit.relations == 0 and BasketReason.NOT_COINTEGRATED in fit.reasons


def test_the_weights_are_the_strongest_relation_that_a_vector_error_correction_finds() -> None:
    closes, _ = basket(1)

    fit = fit_basket(closes)

    beta = VECM(np.log(closes), k_ar_diff=1, coint_rank=1, deterministic="co").fit().beta[:, 0]
    weights = np.array(fit.weights)
    np.testing.assert_allclose(weights / weights[0], beta / beta[0], rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_basket_that_holds_together_is_found_with_its_weights_and_half_life(seed: int) -> None:
    closes, weights = basket(seed)

    fit = fit_basket(closes)

    assert fit.reasons == () and fit.relations == 1
    np.testing.assert_allclose(fit.weights, weights, atol=0.05)
    assert sum(map(abs, fit.weights)) == pytest.approx(1) and fit.weights[0] > 0
    assert fit.half_life_bars == pytest.approx(-math.log(2) / math.log(1 - 0.08), rel=0.5)
    assert fit.z_window_bars == math.ceil(max(10, 2 * fit.half_life_bars))
    assert fit.time_stop_bars == math.ceil(3 * fit.half_life_bars)
    spread = fit.spread(closes)
    assert abs(spread.mean()) < 1e-9
    assert half_life_of_spread(spread) == pytest.approx(fit.half_life_bars)


def test_random_walks_are_refused_nearly_always() -> None:
    refused = sum(BasketReason.NOT_COINTEGRATED in fit_basket(walks(seed)).reasons for seed in range(60))

    assert refused >= 50


def test_legs_that_revert_by_themselves_are_no_basket() -> None:
    closes = np.exp(4 + np.random.default_rng(1).normal(0, 0.01, (500, 3)))

    assert BasketReason.LEGS_STATIONARY in fit_basket(closes).reasons


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        (FitBounds(min_half_life=50.0), BasketReason.HALF_LIFE_SHORT),
        (FitBounds(min_half_life=0.1, max_half_life=1.0), BasketReason.HALF_LIFE_LONG),
    ],
)
def test_the_half_life_is_held_against_its_bounds(bounds: FitBounds, reason: BasketReason) -> None:
    assert fit_basket(basket(1)[0], bounds).reasons == (reason,)


def test_the_unit_of_a_price_and_the_order_of_rows_with_holes_do_not_matter() -> None:
    closes, _ = basket(2)
    holed = np.insert(closes * [1.0, 10.0, 0.5], [5, 700], [[math.nan, 1.0, 1.0], [1.0, 1.0, math.nan]], axis=0)

    fit, other = fit_basket(closes), fit_basket(holed)

    assert other.weights == pytest.approx(fit.weights, rel=1e-6)
    assert other.trace == pytest.approx(fit.trace, rel=1e-6)
    assert np.isnan(other.spread(holed)).sum() == 2


FLAT = np.column_stack([walks(1, 2), np.full(800, 5.0)])
TWICE = np.column_stack([walks(1, 3), walks(1, 3)[:, 0]])
NEARLY_TWICE = np.column_stack([TWICE[:, :3], TWICE[:, 3] * np.exp(np.random.default_rng(3).normal(0, 1e-7, 800))])
LATE = np.column_stack([walks(1, 2)[1:], walks(1, 2)[:-1, 0]])
NEGATIVE = np.column_stack([walks(1, 2), -walks(2, 1)])


@pytest.mark.parametrize(
    ("closes", "words"),
    [
        (walks(1, 2), "3 to 12 legs"),
        (walks(1, 13), "3 to 12 legs"),
        (walks(1)[:, 0], "3 to 12 legs"),
        (walks(1, 3, 29), "29 common bars are too few"),
        (walks(1, 12, 80), "80 common bars are too few for this basket: it needs at least 108"),
        (FLAT, "never move"),
        (TWICE, "follows from the others"),
        (NEARLY_TWICE, "follows from the others"),
        (LATE, "follows from the others"),
        (NEGATIVE, "not a positive number"),
    ],
)
def test_closes_that_hold_no_basket_are_refused(closes: Floats, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        fit_basket(closes)


def test_other_parameters_are_refused_with_what_is_possible() -> None:
    with pytest.raises(InputInvalid, match=r"take 0\.9, 0\.95 or 0\.99"):
        fit_basket(walks(1), confidence=0.5)
    with pytest.raises(InputInvalid, match="-1 lags"):
        fit_basket(walks(1), lags=-1)


@pytest.mark.parametrize(("closes", "words"), [(walks(1, 4), "3 legs"), (-walks(1, 3), "not a positive")])
def test_a_basket_is_measured_on_its_own_legs(closes: Floats, words: str) -> None:
    fit: BasketFit = fit_basket(basket(1)[0])

    with pytest.raises(InputInvalid, match=words):
        fit.spread(closes)
