"""Correlations from closes with gaps, against numpy's own."""

from __future__ import annotations

from datetime import timedelta
from math import isnan

import numpy as np
import pytest

from src.services.risk_management.domain.correlations import closes_at, correlate
from src.shared.domain.bars import CloseSeries, Floats
from tests.unit.risk_management.examples import SLOT


def series(closes: Floats) -> CloseSeries:
    ends = tuple(SLOT + timedelta(hours=i) for i in range(len(closes)))
    return CloseSeries(tuple("ABCDEF"[: closes.shape[1]]), ends, closes)


def walk(steps: int = 60) -> Floats:
    draws = np.random.default_rng(3).normal(0, 0.01, (steps, 3))
    draws[:, 1] += draws[:, 0]
    return np.asarray(100 * np.exp(np.cumsum(draws, axis=0)))


def test_without_gaps_it_is_what_numpy_says() -> None:
    closes = walk()

    found = correlate(series(closes))

    assert np.allclose(found.matrix, np.corrcoef(np.diff(np.log(closes), axis=0).T))


def test_with_gaps_each_pair_uses_the_returns_it_has_in_common() -> None:
    closes = walk()
    closes[10, 0] = closes[30, 1] = np.nan
    returns = np.diff(np.log(closes), axis=0)
    common = np.isfinite(returns[:, 0]) & np.isfinite(returns[:, 1])

    found = correlate(series(closes))

    assert found.between("A", "B") == pytest.approx(np.corrcoef(returns[common, 0], returns[common, 1])[0, 1])


def test_too_little_in_common_or_no_move_is_unknown() -> None:
    closes = walk()
    closes[25:, 0] = np.nan
    closes[:10, 0] = np.nan
    closes[:, 2] = 50.0

    found = correlate(series(closes))

    assert isnan(found.between("A", "B"))
    assert isnan(found.between("B", "C"))
    assert isnan(found.between("A", "ZZZ"))


def test_last_closes_look_back_over_gaps_and_freshness_does_not() -> None:
    closes = np.array([[1.0, 2.0, np.nan], [np.nan, 3.0, np.nan]])

    assert series(closes).last_closes() == {"A": 1.0, "B": 3.0}
    assert closes_at(series(closes), -1) == {"B"}
