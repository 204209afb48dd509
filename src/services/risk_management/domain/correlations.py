"""Correlations of log returns between symbols, from closes with gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

import numpy as np

from src.shared.domain.bars import CloseSeries, Floats

MIN_COMMON_RETURNS = 20
"""With fewer returns in common a correlation says nothing; the guard then denies."""


@dataclass(frozen=True)
class Correlations:
    """Pairwise correlations; NaN where they can't be told. A symbol has correlation 1 with itself."""

    symbols: tuple[str, ...] = ()
    matrix: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def between(self, symbol_1: str, symbol_2: str) -> float:
        """Return the correlation of two symbols."""
        if symbol_1 == symbol_2:
            return 1.0
        if symbol_1 not in self.symbols or symbol_2 not in self.symbols:
            return nan
        return float(self.matrix[self.symbols.index(symbol_1), self.symbols.index(symbol_2)])


def correlate(series: CloseSeries) -> Correlations:
    """Correlate log returns of all S symbols pairwise, each pair over the returns that both have.

    A return needs two neighbouring closes, so a gap costs two returns. NaN where fewer than
    `MIN_COMMON_RETURNS` are common or a symbol did not move.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = np.diff(np.log(series.closes), axis=0)  # (T−1, S)
    known = np.isfinite(returns)
    x = np.where(known, returns, 0.0)
    m = known.astype(np.float64)
    count = m.T @ m  # (S, S): returns in common
    with np.errstate(invalid="ignore", divide="ignore"):
        # Over the returns common to i and j: sum of x_i, sum of x_i², sum of x_i·x_j.
        total, square, product = x.T @ m, (x * x).T @ m, x.T @ x
        covariance = product - total * total.T / count
        variance = square - total**2 / count
        matrix = covariance / np.sqrt(variance * variance.T)
    still = ~(variance > square * 1e-12)
    matrix[(count < MIN_COMMON_RETURNS) | still | still.T] = np.nan
    return Correlations(series.symbols, np.clip(matrix, -1.0, 1.0))


def closes_at(series: CloseSeries, row: int) -> frozenset[str]:
    """Name the symbols that have a close in this row of the grid."""
    if not len(series.ends):
        return frozenset()
    return frozenset(s for s, close in zip(series.symbols, series.closes[row], strict=True) if np.isfinite(close))
