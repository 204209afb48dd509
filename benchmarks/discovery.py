"""How fast all pairs of a universe are tested for cointegration, and what that takes of memory.

The peer is a loop over `statsmodels.tsa.stattools.coint` on a sample of the same pairs, both ways, in the same run.
Times are of the processor, and both sides have one thread for matrices: more only wait for each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from statsmodels.tsa.stattools import coint
from threadpoolctl import threadpool_limits

from benchmarks.rows import Row
from src.services.strategy_engine.domain.scan.engle_granger import BY_AIC, Lags, PairScan, all_pairs, scan_pairs
from src.shared.domain.bars import Floats

# About as many hourly bars as the usual window of discovery has.
BARS = 1200
SYMBOLS = 200
UNIVERSES = (100, 500, 2000)
FIXED: Lags = 1
TIMES_FASTER: dict[Lags, float] = {FIXED: 200.0, BY_AIC: 500.0}
SAMPLES: dict[Lags, int] = {FIXED: 40, BY_AIC: 10}
MOST_MEMORY_MIB = 2048.0
PEER = "loop over statsmodels.coint, both ways, on a sample"
_REPEATS = 3


def rows() -> list[Row]:
    """Measure pairs per second, then universes, each in a process of its own."""
    return [*measure(), *universes()]


def measure(symbols: int = SYMBOLS, bars: int = BARS, samples: dict[Lags, int] | None = None) -> list[Row]:
    """Measure a pair with fixed lags and with lags by Akaike's criterion, beside statsmodels."""
    logs = market(symbols, bars)
    return [_pair(logs, lags, count) for lags, count in (samples or SAMPLES).items()]


def universes(sizes: Sequence[int] = UNIVERSES, bars: int = BARS) -> list[Row]:
    """Measure the stages of whole universes, and the peak of their process."""
    return [row for size in sizes for row in _universe(size, bars)]


def market(symbols: int, bars: int) -> Floats:
    """Make log prices of shape (bars, symbols): random walks of one factor; every tenth follows its neighbour."""
    rng = np.random.default_rng(17)
    factor = rng.normal(0, 0.006, bars).cumsum()
    own = rng.normal(0, 0.004, (bars, symbols)).cumsum(axis=0)
    logs: Floats = 4.0 + np.outer(factor, rng.uniform(0.6, 1.4, symbols)) + own
    leaders = logs[:, 8 : symbols - 1 : 10]
    logs[:, 9::10] = leaders + _reverting(rng.normal(0, 0.002, leaders.shape))
    return logs


def _reverting(steps: Floats) -> Floats:
    levels = np.zeros_like(steps)
    for t in range(1, len(steps)):
        levels[t] = 0.93 * levels[t - 1] + steps[t]
    return levels


def _pair(logs: Floats, lags: Lags, sample: int) -> Row:
    legs = all_pairs(logs.shape[1])
    chosen = np.random.default_rng(3).choice(legs.shape[1], sample, replace=False)
    scan, taken = _least(lambda: scan_pairs(logs, legs, lags), _REPEATS)
    said, of_peer = _least(lambda: _loop(logs, scan, chosen, lags), 1)
    ours, peers = taken / scan.count * 1e6, of_peer / sample * 1e6
    name = f"discovery, a pair of {len(logs):,} bars both ways, {_named(lags)}"
    details = {
        "pairs/s": scan.count / taken,
        "pairs/s of statsmodels": sample / of_peer,
        "times faster": peers / ours,
        "largest difference of t, 1e-12": float(np.abs(said - scan.statistic[:, chosen]).max()) * 1e12,
    }
    return Row(name, ours, "µs", PEER, peers, peers / TIMES_FASTER[lags], details)


def _loop(logs: Floats, scan: PairScan, pairs: Sequence[int] | Any, lags: Lags) -> Floats:
    how: dict[str, Any] = {"autolag": "aic"} if lags == BY_AIC else {"maxlag": lags, "autolag": None}
    with threadpool_limits(limits=1, user_api="blas"):
        found = [
            [coint(logs[:, a], logs[:, b], trend="c", **how)[0] for a, b in (scan.legs[:, k], scan.legs[::-1, k])]
            for k in pairs
        ]
    return np.array(found).T


def _universe(symbols: int, bars: int) -> list[Row]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.discovery_memory", str(symbols), str(bars)],
        capture_output=True, text=True, check=True, timeout=1800,
    )  # fmt: skip
    found = json.loads(done.stdout)
    name = f"discovery, {symbols:,} symbols × {bars:,} bars ({int(found['pairs']):,} pairs), {_named(BY_AIC)}"
    return [
        Row(name, sum(found["seconds"].values()), "s", details={**found["seconds"], "pairs found": found["found"]}),
        Row(f"{name}, peak memory", found["peak_mib"], "MiB", aim=MOST_MEMORY_MIB),
    ]


def _least(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Do it so many times; return what it gave and the fewest seconds of the processor."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        found = work()
        taken.append(time.process_time() - start)
    return found, min(taken)


def _named(lags: Lags) -> str:
    return "lags by AIC" if lags == BY_AIC else f"{lags} lag"
