"""Johansen's trace test of N log prices, with a constant: how many relations hold, and the strongest of them.

With Δx the changes and x the levels `lags` bars before, both freed of their mean and of what `lags` earlier changes
explain, the squared canonical correlations λ of the two, the largest first, give −T · Σ ln(1 − λ[i]) over i ≥ r, the
trace for "at most r relations"; the vectors that belong to them are the relations. The numbers are those of
`statsmodels.tsa.vector_ar.vecm.coint_johansen(x, 0, lags)`, which takes seconds to import: a call has few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.shared.domain.bars import Floats

CONFIDENCES = (0.90, 0.95, 0.99)

# Row n − 1: critical values of the trace where n relations are left, at each confidence, with a constant.
_CRITICAL = np.array(
    [
        (2.7055, 3.8415, 6.6349),
        (13.4294, 15.4943, 19.9349),
        (27.0669, 29.7961, 35.4628),
        (44.4929, 47.8545, 54.6815),
        (65.8202, 69.8189, 77.8202),
        (91.1090, 95.7542, 104.9637),
        (120.3673, 125.6185, 135.9825),
        (153.6341, 159.5290, 171.0905),
        (190.8714, 197.3772, 210.0366),
        (232.1030, 239.2468, 253.2526),
        (277.3740, 285.1402, 300.2821),
        (326.5354, 334.9795, 351.2150),
    ]
)


@dataclass(frozen=True, eq=False)
class TraceTest:
    """`trace` and `critical` (N,): the statistic of at most 0 … N−1 relations, and its critical value.

    `relation` (N,) are the weights of the strongest relation, up to a factor, and `strongest` is its λ.
    """

    trace: Floats
    critical: Floats
    relation: Floats
    strongest: float


def trace_test(logs: Floats, lags: int, confidence: float) -> TraceTest:
    """Test N series of shape (T, N), 1 to 12 of them, oldest row first, without gaps.

    Raises:
        numpy.linalg.LinAlgError: one is a mix of the others.
    """
    changes = np.diff(logs, axis=0)
    earlier = np.hstack([changes[lags - lag : len(changes) - lag] for lag in range(1, lags + 1)] or [changes[:, :0]])
    now = _unexplained(changes[lags:], earlier)
    before = _unexplained(logs[1 : len(logs) - lags], earlier)
    rows, count = now.shape
    level, both, change = before.T @ before / rows, before.T @ now / rows, now.T @ now / rows
    # In the coordinates in which the levels are white the problem is symmetric, and its solution exact and ordered.
    white = np.linalg.inv(np.linalg.cholesky(level))
    found, vectors = np.linalg.eigh(white @ both @ np.linalg.solve(change, both.T) @ white.T)
    # In rising order. Without any noise λ is 1, and rounding may take it beyond.
    with np.errstate(divide="ignore"):
        trace = -rows * np.cumsum(np.log1p(-np.clip(found, 0.0, 1.0)))[::-1]
    critical = _CRITICAL[count - 1 :: -1, CONFIDENCES.index(confidence)]
    return TraceTest(trace, critical, white.T @ vectors[:, -1], float(found[-1]))


def _unexplained(values: Floats, by: Floats) -> Floats:
    """Take the mean and what the columns of `by` explain out of each column."""
    centred, others = values - values.mean(axis=0), by - by.mean(axis=0)
    left: Floats = centred - others @ np.linalg.lstsq(others, centred, rcond=None)[0]
    return left
