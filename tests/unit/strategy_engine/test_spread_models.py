from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.rolling import RollingOLS
from statsmodels.tsa.statespace.mlemodel import MLEModel

from src.services.strategy_engine.domain.fit import fit_pair
from src.services.strategy_engine.domain.spread_models import Kalman, RollingOls, SpreadModel, SpreadPath, StaticOls
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid

MODELS: list[SpreadModel] = [StaticOls(50), RollingOls(40), Kalman(delta=1e-4, warm_up_bars=20)]
names = [model.name for model in MODELS]


def drifting(seed: int = 1, bars: int = 160) -> tuple[Floats, Floats]:
    """Make closes whose hedge ratio wanders."""
    rng = np.random.default_rng(seed)
    logs_2 = 4.0 + rng.normal(0, 0.02, bars).cumsum()
    beta = 0.8 + rng.normal(0, 0.003, bars).cumsum()
    return np.exp(0.5 + beta * logs_2 + rng.normal(0, 0.01, bars)), np.exp(logs_2)


class TwoWalks(MLEModel):  # type: ignore[misc]
    """statsmodels' own filter of the same model."""

    def __init__(self, y: Floats, x: Floats, model: Kalman) -> None:
        super().__init__(y, k_states=2, initialization="known", constant=[0.0, 0.0], stationary_cov=np.eye(2))
        self["design"] = np.stack([np.ones_like(x), x])[None]
        self["transition"], self["selection"] = np.eye(2), np.eye(2)
        self["state_cov"] = np.eye(2) * model.delta / (1 - model.delta)
        self["obs_cov", 0, 0] = model.observation_variance
        self.initialize_known(np.zeros(2), np.eye(2) * model.prior_variance)


@given(seed=st.integers(0, 10_000), delta=st.floats(0, 0.1), noise=st.floats(1e-5, 1e-1), prior=st.floats(0.1, 100))
@settings(max_examples=25, deadline=None)
def test_the_kalman_filter_is_that_of_statsmodels(seed: int, delta: float, noise: float, prior: float) -> None:
    closes_1, closes_2 = drifting(seed)
    model = Kalman(delta, noise, prior, warm_up_bars=0)

    path = model.fit(closes_1, closes_2)

    filtered: Any = TwoWalks(np.log(closes_1), np.log(closes_2), model).ssm.filter()
    np.testing.assert_allclose(path.alpha, filtered.predicted_state[0, :-1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(path.beta, filtered.predicted_state[1, :-1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(path.spread, filtered.forecasts_error[0], rtol=1e-6, atol=1e-8)


def test_without_drift_the_filter_is_least_squares_with_a_prior() -> None:
    closes_1, closes_2 = drifting()
    noise, prior = 1e-3, 2.0

    path = Kalman(0.0, noise, prior, warm_up_bars=0).fit(closes_1, closes_2)

    known = np.column_stack([np.ones(159), np.log(closes_2[:-1])])
    ridge = np.linalg.solve(known.T @ known + noise / prior * np.eye(2), known.T @ np.log(closes_1[:-1]))
    assert (path.alpha[-1], path.beta[-1]) == pytest.approx(tuple(ridge), rel=1e-8)


def test_a_filter_that_may_drift_follows_a_ratio_that_changes() -> None:
    rng = np.random.default_rng(2)
    logs_2 = 4 + rng.normal(0, 0.05, 800).cumsum()
    beta = np.where(np.arange(800) < 400, 0.5, 1.5)
    closes_1 = np.exp(beta * logs_2 + rng.normal(0, 0.001, 800))

    still = Kalman(0.0, 1e-6).fit(closes_1, np.exp(logs_2))
    free = Kalman(1e-4, 1e-6).fit(closes_1, np.exp(logs_2))

    assert np.abs(free.spread[500:]).mean() < 0.1 * np.abs(still.spread[500:]).mean()


@given(seed=st.integers(0, 10_000), window=st.integers(3, 60))
@settings(max_examples=25, deadline=None)
def test_rolling_lines_are_those_of_statsmodels_one_bar_late(seed: int, window: int) -> None:
    closes_1, closes_2 = drifting(seed, bars=90)

    path = RollingOls(window).fit(closes_1, closes_2)

    known = sm.add_constant(np.log(closes_2))
    lines = RollingOLS(np.log(closes_1), known, window=window).fit().params
    np.testing.assert_allclose(path.alpha[1:], lines[:-1, 0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(path.beta[1:], lines[:-1, 1], rtol=1e-5, atol=1e-7)


def test_the_static_line_is_the_fit_of_its_first_bars() -> None:
    closes_1, closes_2 = drifting()

    path = StaticOls(60).fit(closes_1, closes_2)

    fit = fit_pair(closes_1[:60], closes_2[:60])
    assert np.isnan(path.spread[:60]).all()
    assert path.alpha[60:].tolist() == pytest.approx([fit.alpha] * 100, rel=1e-9)
    assert path.beta[60:].tolist() == pytest.approx([fit.beta] * 100, rel=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=names)
@given(seed=st.integers(0, 1000), at=st.integers(62, 158), shock=st.floats(0.5, 2.0))
@settings(max_examples=20, deadline=None)
def test_what_comes_later_changes_nothing_that_was_said(model: SpreadModel, seed: int, at: int, shock: float) -> None:
    closes_1, closes_2 = drifting(seed)
    other_1, other_2 = closes_1.copy(), closes_2.copy()
    other_1[at:] *= shock
    other_2[at:] *= 1.1

    before, after = model.fit(closes_1, closes_2), model.fit(other_1, other_2)

    # The line that the bar is measured with was known before the bar.
    np.testing.assert_array_equal(before.alpha[: at + 1], after.alpha[: at + 1])
    np.testing.assert_array_equal(before.beta[: at + 1], after.beta[: at + 1])
    np.testing.assert_array_equal(before.spread[:at], after.spread[:at])
    shorter = model.fit(closes_1[:at], closes_2[:at])
    np.testing.assert_array_equal(before.spread[:at], shorter.spread)


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_spread_and_line_belong_together(model: SpreadModel) -> None:
    closes_1, closes_2 = drifting()

    path: SpreadPath = model.fit(closes_1, closes_2)

    known = ~np.isnan(path.beta)
    assert known.sum() > 100 and not known[:20].any()
    spread = np.log(closes_1) - path.beta * np.log(closes_2) - path.alpha
    np.testing.assert_allclose(path.spread[known], spread[known], rtol=1e-12)


def test_a_second_leg_that_stands_still_for_a_window_has_no_line_there() -> None:
    closes_1, closes_2 = drifting()
    closes_2[30:50] = closes_2[30]

    path = RollingOls(10).fit(closes_1, closes_2)

    assert np.flatnonzero(np.isnan(path.beta)).tolist() == [*range(10), *range(40, 51)]


@pytest.mark.parametrize("model", MODELS, ids=names)
@pytest.mark.parametrize(
    ("closes_1", "closes_2", "words"),
    [
        (np.ones(100), np.ones(99), "same length"),
        (np.ones((100, 2)), np.ones((100, 2)), "same length"),
        (np.ones(20), np.ones(20), "20 bars are too few"),
        (np.append(np.ones(99), math.nan), np.ones(100), "missing or not a positive"),
        (np.ones(100), np.append(np.ones(99), 0.0), "missing or not a positive"),
        (np.ones(100), np.append(np.ones(99), math.inf), "missing or not a positive"),
    ],
)
def test_closes_without_a_path_are_refused(
    model: SpreadModel, closes_1: Floats, closes_2: Floats, words: str
) -> None:
    with pytest.raises(InputInvalid, match=words):
        model.fit(closes_1, closes_2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StaticOls(2), "2 bars hold no line"),
        (lambda: RollingOls(0), "0 bars hold no line"),
        (lambda: Kalman(delta=1.0), "delta is 1"),
        (lambda: Kalman(delta=math.nan), "delta is nan"),
        (lambda: Kalman(observation_variance=0.0), "observation_variance is 0"),
        (lambda: Kalman(prior_variance=math.inf), "prior_variance is inf"),
        (lambda: Kalman(warm_up_bars=-1), "warm_up_bars is -1"),
    ],
)
def test_parameters_of_no_model_are_refused(make: Any, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        make()
