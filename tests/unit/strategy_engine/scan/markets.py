"""Made-up log prices, and what statsmodels says of a pair of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from statsmodels.tsa.stattools import adfuller, coint
from threadpoolctl import threadpool_limits

from src.services.strategy_engine.domain.scan.engle_granger import PairScan
from src.shared.domain.bars import Floats


class Oracle(NamedTuple):
    """What statsmodels says of one direction of a pair."""

    statistic: float
    p_value: float
    lags: int


def independent(seed: int, bars: int = 300, symbols: int = 8) -> Floats:
    """Make random walks that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    walks: Floats = 4.0 + rng.normal(0, 0.01, (bars, symbols)).cumsum(axis=0)
    return walks


def one_market(seed: int, bars: int = 300, symbols: int = 8) -> Floats:
    """Make random walks that share one factor: correlated, not cointegrated."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(0, 0.01, bars).cumsum()
    own = rng.normal(0, 0.004, (bars, symbols)).cumsum(axis=0)
    walks: Floats = 4.0 + np.outer(factor, rng.uniform(0.5, 1.5, symbols)) + own
    return walks


def bound_pairs(seed: int, bars: int = 600, pairs: int = 5, pull: float = 0.08, noise: float = 0.003) -> Floats:
    """Make columns 0–1, 2–3, … that are cointegrated: their spread is pulled back by `pull` of itself each bar."""
    rng = np.random.default_rng(seed)
    columns = []
    for _ in range(pairs):
        second = rng.normal(0, 0.01, bars).cumsum()
        spread = np.zeros(bars)
        for t, step in enumerate(rng.normal(0, noise, bars - 1).tolist(), start=1):
            spread[t] = (1 - pull) * spread[t - 1] + step
        columns += [4.0 + rng.uniform(0.6, 1.4) * second + spread, 4.0 + second]
    return np.column_stack(columns)


def oracle(y: Floats, x: Floats, lags: int | str, max_lag: int | None = None) -> Oracle:
    """Ask statsmodels about y on x."""
    how: dict[str, Any] = (
        {"maxlag": max_lag, "autolag": "aic"} if lags == "aic" else {"maxlag": lags, "autolag": None}
    )
    line = np.polyfit(x, y, 1)
    # Threads for matrices of a few columns only wait for each other.
    with threadpool_limits(limits=1, user_api="blas"):
        found = coint(y, x, trend="c", **how)
        used = adfuller(y - np.polyval(line, x), regression="n", result_object=False, **how)[2]
    return Oracle(float(found[0]), float(found[1]), int(used))


def assert_equal_to_statsmodels(
    scan: PairScan, logs: Floats, pair: int, lags: int | str, max_lag: int | None = None
) -> None:
    """Compare both directions of one pair: t to 1e-8, p to 1e-8, the lags exactly."""
    for way in (0, 1):
        y, x = logs[:, scan.legs[way, pair]], logs[:, scan.legs[1 - way, pair]]
        said = oracle(y, x, lags, max_lag)
        assert abs(scan.statistic[way, pair] - said.statistic) < 1e-8
        assert abs(scan.p_value[way, pair] - said.p_value) < 1e-8
        assert scan.lags[way, pair] == said.lags
