"""Johansen's trace test against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from src.services.strategy_engine.domain.trace_test import CONFIDENCES, trace_test
from src.shared.domain.bars import Floats


def series(seed: int, legs: int, bars: int, *, held_together: bool) -> Floats:
    generator = np.random.default_rng(seed)
    walks = np.cumsum(generator.standard_normal((bars, legs)) * 0.01, axis=0) + 4.0
    if held_together:
        walks[:, -1] = walks[:, :-1].mean(axis=1) + 0.01 * generator.standard_normal(bars)
    return walks


@pytest.mark.parametrize("lags", [0, 1, 4])
@pytest.mark.parametrize("legs", [2, 3, 7, 12])
@pytest.mark.parametrize("held_together", [False, True])
def test_it_gives_the_numbers_of_statsmodels(legs: int, lags: int, held_together: bool) -> None:
    logs = series(legs, legs, 400, held_together=held_together)
    oracle = coint_johansen(logs, 0, lags)

    for column, confidence in enumerate(CONFIDENCES):
        found = trace_test(logs, lags, confidence)
        assert found.critical == pytest.approx(oracle.trace_stat_crit_vals[:, column], abs=1e-9)

    assert found.trace == pytest.approx(oracle.trace_stat, rel=1e-8)
    vector = oracle.evec[:, 0]
    largest = np.abs(vector).argmax()
    assert found.relation / found.relation[largest] == pytest.approx(vector / vector[largest], rel=1e-6, abs=1e-8)
