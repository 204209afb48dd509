"""MacKinnon's p-values, and what is left of p-values when many were looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa import adfvalues

from src.services.strategy_engine.domain.scan import mackinnon
from src.services.strategy_engine.domain.scan.mackinnon import cointegration_p_values
from src.services.strategy_engine.domain.scan.multiple_testing import benjamini_hochberg
from src.shared.domain.bars import Floats

p_values = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


def test_p_values_are_those_of_statsmodels_over_their_whole_range() -> None:
    edges = [-18.86, -2.62, 0.92]
    statistics = np.concatenate([np.linspace(-25, 3, 400), edges, np.nextafter(edges, -9), np.nextafter(edges, 9)])

    found = cointegration_p_values(statistics)

    expected = [adfvalues.mackinnonp(each, regression="c", N=2) for each in statistics]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_the_coefficients_are_those_that_statsmodels_has() -> None:
    assert adfvalues.tau_c_smallp[1] == pytest.approx(mackinnon._LEFT_TAIL, rel=1e-15)
    assert adfvalues.tau_c_largep[1] == pytest.approx(mackinnon._REST, rel=1e-15)


@pytest.mark.parametrize(("statistic", "p_value"), [(np.nan, 1.0), (np.inf, 1.0), (-np.inf, 0.0)])
def test_what_is_no_number_speaks_for_nothing(statistic: float, p_value: float) -> None:
    assert cointegration_p_values(np.array([[statistic]])).tolist() == [[p_value]]


@given(p_values)
def test_adjusted_p_values_are_those_of_scipy_and_statsmodels(raw: Floats) -> None:
    adjusted = benjamini_hochberg(raw)

    np.testing.assert_allclose(adjusted, false_discovery_control(raw), rtol=1e-12)
    np.testing.assert_allclose(adjusted, multipletests(raw, method="fdr_bh")[1], rtol=1e-12)


@given(p_values, st.integers(1, 5))
def test_what_was_not_tested_does_not_count_and_the_shape_is_kept(raw: Floats, holes: int) -> None:
    with_holes = np.concatenate([raw, np.full(holes, np.nan)])[None, :]

    adjusted = benjamini_hochberg(with_holes)

    assert adjusted.shape == with_holes.shape
    np.testing.assert_array_equal(adjusted[0, : raw.size], benjamini_hochberg(raw))
    assert np.isnan(adjusted[0, raw.size :]).all()


def test_nothing_adjusted_is_nothing() -> None:
    assert benjamini_hochberg(np.empty((2, 0))).shape == (2, 0)
