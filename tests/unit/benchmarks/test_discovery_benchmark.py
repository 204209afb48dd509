"""A small run, so that the benchmark does not rot."""

from __future__ import annotations

from benchmarks.discovery import FIXED, TIMES_FASTER, measure, universes
from src.services.strategy_engine.domain.scan.engle_granger import BY_AIC


def test_the_scan_is_measured_beside_statsmodels_and_says_the_same() -> None:
    fixed, by_aic = measure(symbols=12, bars=150, samples={FIXED: 2, BY_AIC: 2})

    for row, lags in ((fixed, FIXED), (by_aic, BY_AIC)):
        assert row.value > 0 and row.reference_value is not None
        assert row.aim == row.reference_value / TIMES_FASTER[lags]
        assert row.details["largest difference of t, 1e-12"] < 1e4


def test_a_universe_says_its_stages_and_its_peak() -> None:
    taken, peak = universes(sizes=(10,), bars=700)

    assert "45 pairs" in taken.name
    assert set(taken.details) == {"scan", "sift and rank", "pairs found"}
    assert taken.details["pairs found"] == 1
    assert 20 < peak.value < 2048
