"""Real closes: the scan says what statsmodels says, and the funnel ends each pair as that demands."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from statsmodels.tsa.stattools import coint
from threadpoolctl import threadpool_limits

from src.services.strategy_engine.domain.fit import FitBounds, fit_pair
from src.services.strategy_engine.domain.reasons import ScanReason
from src.services.strategy_engine.domain.scan.engle_granger import Lags, all_pairs, scan_pairs
from src.services.strategy_engine.domain.scan.funnel import FunnelBounds, sift
from src.shared.domain.bars import Floats
from tests.shared_data import shared_file
from tests.unit.strategy_engine.scan.markets import assert_equal_to_statsmodels

POLYGON, YAHOO = "data/mit_polygon_1h.parquet", "data/mit_yahoo_1h_2025q3.parquet"
ETFS = "data/bsd_daily_close_etf_2008_2016.parquet"
# So that pairs come to the last steps too.
LOOSE = FunnelBounds(max_p_value=0.6, fit=FitBounds(min_correlation=0.3))
PEERS = {
    POLYGON: ("COST", "MA", "PEP", "XLK"),
    YAHOO: ("COST", "KO", "MA", "PEP", "PG", "QQQ", "SPY", "V", "WMT", "XLK"),
    ETFS: ("DIA", "EEM", "EFA", "SPY", "VGK", "XLB", "XLF", "XLK"),
}


def log_closes(name: str, symbols: tuple[str, ...]) -> Floats:
    """Read the bars that all the symbols have; of Yahoo's those that traded."""
    frame = pd.read_parquet(shared_file(name))
    if name == YAHOO:
        frame = frame[frame["volume"] > 0]
    wide = frame.pivot_table(index="timestamp", columns="symbol", values="close")
    logs: Floats = np.log(wide[list(symbols)].dropna().to_numpy(dtype=np.float64))
    return logs


@pytest.mark.parametrize("lags", [1, "aic"])
@pytest.mark.parametrize("name", PEERS)
def test_every_pair_of_real_closes_is_as_statsmodels_says(name: str, lags: Lags) -> None:
    logs = log_closes(name, PEERS[name])
    assert len(logs) > 300
    if lags == "aic":
        # statsmodels takes its time to choose.
        logs = logs[-700:]

    scan = scan_pairs(logs, all_pairs(logs.shape[1]), lags)

    for pair in range(0, scan.count, 1 if lags == 1 else scan.count // 3):
        assert_equal_to_statsmodels(scan, logs, pair, lags)


@pytest.mark.parametrize("bounds", [FunnelBounds(), LOOSE], ids=["usual", "loose"])
@pytest.mark.parametrize("name", PEERS)
def test_real_pairs_end_as_their_statistics_demand(name: str, bounds: FunnelBounds) -> None:
    """The verdict is worked out again, pair by pair, from statsmodels, scipy and the fit of a single pair."""
    symbols = PEERS[name]
    logs = log_closes(name, symbols)
    pairs = list(combinations(range(len(symbols)), 2))
    both_ways = [way for pair in pairs for way in (pair, pair[::-1])]
    with threadpool_limits(limits=1, user_api="blas"):
        said = [coint(logs[:, a], logs[:, b], maxlag=1, autolag=None)[1] for a, b in both_ways]
    p_values = np.array(said).reshape(-1, 2)
    adjusted = false_discovery_control(p_values.ravel()).reshape(-1, 2)

    funnel = sift(scan_pairs(logs, all_pairs(len(symbols)), 1), logs, bounds)

    expected = [verdict(logs, pair, p_values[k], adjusted[k], bounds) for k, pair in enumerate(pairs)]
    assert [funnel.reason(row) for row in range(len(pairs))] == expected


def verdict(
    logs: Floats, pair: tuple[int, int], p_values: Floats, adjusted: Floats, bounds: FunnelBounds
) -> ScanReason | None:
    way = int(p_values[1] < p_values[0])
    y, x = pair if way == 0 else pair[::-1]
    fit = fit_pair(np.exp(logs[:, y]), np.exp(logs[:, x]))
    if fit.correlation < bounds.fit.min_correlation:
        return ScanReason.LOW_CORRELATION
    if adjusted[way] > bounds.max_p_value:
        return ScanReason.NOT_COINTEGRATED
    if not fit.beta > 0:
        return ScanReason.BETA_NOT_POSITIVE
    if not math.isfinite(fit.half_life_bars):
        return ScanReason.NO_MEAN_REVERSION
    if fit.half_life_bars < bounds.fit.min_half_life:
        return ScanReason.HALF_LIFE_SHORT
    return ScanReason.HALF_LIFE_LONG if fit.half_life_bars > bounds.fit.max_half_life else None


@pytest.mark.parametrize(
    ("name", "symbols"),
    [(POLYGON, ("COST", "PEP")), (YAHOO, ("COST", "PEP")), (YAHOO, ("V", "MA")), (YAHOO, ("KO", "PEP"))],
)
def test_famous_pairs_that_are_not_cointegrated_are_refused(name: str, symbols: tuple[str, str]) -> None:
    logs = log_closes(name, symbols)

    funnel = sift(scan_pairs(logs, all_pairs(2)), logs)

    assert funnel.best.size == 0
    assert funnel.reason(0) in {ScanReason.LOW_CORRELATION, ScanReason.NOT_COINTEGRATED}
    assert funnel.adjusted_p[0] > 0.05
