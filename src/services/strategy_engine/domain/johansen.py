"""Baskets of more than two legs: Johansen's trace test, and the weights by which the legs hold together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from src.services.strategy_engine.domain.fit import (
    DEFAULT_BOUNDS,
    FitBounds,
    half_life_of_spread,
    time_stop_bars,
    window_bars,
)
from src.services.strategy_engine.domain.reasons import BasketReason
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid

LEAST_LEGS, MOST_LEGS = 3, 12
CONFIDENCES = (0.90, 0.95, 0.99)
_BARS_PER_COEFFICIENT = 3
# The smallest share that a leg keeps of its own once the others are known.
_LEAST_OWN = 1e-8
_FOLLOWS = "A leg of the basket follows from the others: leave it out."


@dataclass(frozen=True)
class BasketFit:
    """A basket of N legs: spread = Σ weights[i] · ln P[i] − mean.

    `weights` are shares of the gross: their absolute values sum up to 1, the first that is not zero is positive.
    `trace` and `critical` (N,): the statistic of at most 0 … N−1 relations and its critical value at the asked
    confidence. `relations` is how many hold. `half_life_bars` is infinite where the spread does not revert. `reasons`
    says why the basket may not be traded; empty when it may.
    """

    weights: tuple[float, ...]
    mean: float
    relations: int
    trace: tuple[float, ...]
    critical: tuple[float, ...]
    half_life_bars: float
    z_window_bars: int
    time_stop_bars: int
    reasons: tuple[BasketReason, ...]

    def spread(self, closes: Floats) -> Floats:
        """Measure the basket on closes of shape (T, N), legs in the fit's order; NaN where a close is missing.

        Raises:
            InputInvalid: the closes have other legs, or one is not positive.
        """
        if closes.ndim != 2 or closes.shape[1] != len(self.weights):
            raise InputInvalid(f"The basket has {len(self.weights)} legs: give a column of closes for each.")
        if (closes <= 0).any():
            raise InputInvalid("A close is not a positive number: check the stored bars.")
        spread: Floats = np.log(closes) @ np.array(self.weights) - self.mean
        return spread


def fit_basket(
    closes: Floats, bounds: FitBounds = DEFAULT_BOUNDS, confidence: float = 0.95, lags: int = 1
) -> BasketFit:
    """Fit a basket on closes of shape (T, N), 3 to 12 legs, oldest row first.

    Johansen's test with a constant and `lags` lagged changes. The relations are counted from none upwards until one
    is not rejected; the weights are those of the strongest. NaN policy: rows with a missing close are left out, and
    their neighbours count as neighbours.

    Raises:
        InputInvalid: too many or too few legs or bars, a price that is not positive, a leg that never moves, or legs
            of which one follows from the others.
    """
    if confidence not in CONFIDENCES:
        raise InputInvalid(f"A confidence of {confidence:g} has no critical values: take 0.9, 0.95 or 0.99.")
    logs = _common_logs(closes, lags)
    found = _test(logs, lags)
    trace, critical = found.trace_stat, found.trace_stat_crit_vals[:, CONFIDENCES.index(confidence)]
    holds = trace > critical
    relations = len(holds) if holds.all() else int(holds.argmin())
    weights = _shares(np.asarray(found.evec[:, 0], dtype=np.float64))
    spread = logs @ weights
    half_life = half_life_of_spread(spread)
    return BasketFit(
        weights=tuple(weights.tolist()),
        mean=float(spread.mean()),
        relations=relations,
        trace=tuple(trace.tolist()),
        critical=tuple(critical.tolist()),
        half_life_bars=half_life,
        z_window_bars=int(window_bars(half_life, bounds)),
        time_stop_bars=int(time_stop_bars(half_life, bounds)),
        reasons=tuple(_judge(relations, len(weights), half_life, bounds)),
    )


def _test(logs: Floats, lags: int) -> Any:
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    try:
        found = coint_johansen(logs, det_order=0, k_ar_diff=lags)
    except np.linalg.LinAlgError as error:
        raise InputInvalid(_FOLLOWS) from error
    # A relation without any noise is none of prices: one leg is made of the others, or of their bars before.
    if not found.eig.max() < 1 - _LEAST_OWN:
        raise InputInvalid(_FOLLOWS)
    return found


def _judge(relations: int, legs: int, half_life: float, bounds: FitBounds) -> list[BasketReason]:
    reasons = []
    if relations == 0:
        reasons.append(BasketReason.NOT_COINTEGRATED)
    if relations == legs:
        reasons.append(BasketReason.LEGS_STATIONARY)
    if not np.isfinite(half_life):
        reasons.append(BasketReason.NO_MEAN_REVERSION)
    elif half_life < bounds.min_half_life:
        reasons.append(BasketReason.HALF_LIFE_SHORT)
    elif half_life > bounds.max_half_life:
        reasons.append(BasketReason.HALF_LIFE_LONG)
    return reasons


def _common_logs(closes: Floats, lags: int) -> Floats:
    if closes.ndim != 2 or not LEAST_LEGS <= closes.shape[1] <= MOST_LEGS:
        raise InputInvalid(f"A basket has {LEAST_LEGS} to {MOST_LEGS} legs, each a column of closes.")
    if lags < 0:
        raise InputInvalid(f"{lags} lags are too few: Johansen's test takes 0 or more.")
    common = closes[~np.isnan(closes).any(axis=1)]
    least = max(30, _BARS_PER_COEFFICIENT * closes.shape[1] * (lags + 2))
    if len(common) < least:
        raise InputInvalid(f"{len(common)} common bars are too few for this basket: it needs at least {least}.")
    if not (np.isfinite(common) & (common > 0)).all():
        raise InputInvalid("A close is not a positive number: check the stored bars.")
    logs: Floats = np.log(common)
    if (logs.std(axis=0) < 1e-10).any():
        raise InputInvalid("The closes of a leg never move: there is nothing to fit.")
    for values in (logs, np.diff(logs, axis=0)):
        own = np.linalg.eigvalsh(np.corrcoef(values, rowvar=False))
        if not own[0] > _LEAST_OWN:
            raise InputInvalid(_FOLLOWS)
    return logs


def _shares(vector: Floats) -> Floats:
    shares: Floats = vector / np.abs(vector).sum()
    first = shares[np.flatnonzero(shares)[0]]
    return shares if first > 0 else -shares
