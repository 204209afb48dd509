"""How far spreads go from their mean: what there is to trade."""

from __future__ import annotations

import numpy as np

from src.services.strategy_engine.domain.spread import LEAST_SD
from src.shared.domain.bars import Floats, Ints

_PAIRS_AT_ONCE = 256


def mean_absolute_z(log_prices: Floats, legs: Ints, betas: Floats, windows: Ints) -> Floats:
    """Average |z| of P spreads over all bars that have a whole window behind them; shape (P,).

    Shapes: `log_prices` (T, S), `legs` (2, P), `betas` and `windows` (P,). z is the signal's: the spread less its
    mean over the window that ends with the bar, over its sd there with ddof = 1. Bars at which the spread does not
    move are left out; NaN where none is left. NaN policy: prices are complete, as for the scan.
    """
    means = np.empty(legs.shape[1])
    for begin in range(0, means.size, _PAIRS_AT_ONCE):
        some = slice(begin, begin + _PAIRS_AT_ONCE)
        spreads = log_prices[:, legs[0, some]] - betas[some] * log_prices[:, legs[1, some]]
        means[some] = _mean_absolute_z(spreads - spreads.mean(axis=0), windows[some])
    return means


def _mean_absolute_z(spreads: Floats, windows: Ints) -> Floats:
    totals = _window_sums(spreads, windows)
    squares = _window_sums(spreads**2, windows)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (squares - totals**2 / windows) / (windows - 1)
        sd = np.sqrt(np.maximum(variance, 0.0))
        moved = sd > LEAST_SD
        z = np.where(moved, (spreads - totals / windows) / np.where(moved, sd, 1.0), 0.0)
        found: Floats = np.abs(z).sum(axis=0) / moved.sum(axis=0)
    return found


def _window_sums(values: Floats, windows: Ints) -> Floats:
    """Sum each column over its window that ends with each row; NaN before the first whole one. Shape (T, P)."""
    rows = np.arange(len(values))[:, None]
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    begins = np.maximum(rows + 1 - windows, 0)
    found = sums[1:] - np.take_along_axis(sums, begins, axis=0)
    return np.where(rows + 1 >= windows, found, np.nan)
