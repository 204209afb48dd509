"""The fit of a pair: hedge ratio, half-life and the windows that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from src.services.strategy_engine.domain.reasons import FitReason
from src.shared.domain.bars import Floats, Ints
from src.shared.domain.errors import InputInvalid

LEAST_BARS = 30
MOST_BETA = 100.0
MOST_HALF_LIFE = 10_000.0


@dataclass(frozen=True)
class FitBounds:
    """What a fit must keep to be traded, and how its windows follow from the half-life. Lengths are in bars."""

    min_half_life: float = 5.0
    max_half_life: float = 72.0
    min_correlation: float = 0.70
    min_window: int = 10
    max_window: int = 60
    time_stop_half_lives: float = 3.0


DEFAULT_BOUNDS = FitBounds()


@dataclass(frozen=True)
class PairFit:
    """Frozen parameters of a pair: spread = ln P1 − beta · ln P2 − alpha.

    `half_life_bars` is infinite when the spread does not revert; then there is no time stop (0) and the pair can't be
    registered. `correlation` is that of log returns, NaN when a leg's returns never differ.
    """

    alpha: float
    beta: float
    half_life_bars: float
    z_window_bars: int
    time_stop_bars: int
    correlation: float


def fit_pair(closes_1: Floats, closes_2: Floats, bounds: FitBounds = DEFAULT_BOUNDS) -> PairFit:
    """Fit a pair on two aligned columns of closes, each of shape (T,), oldest first.

    Least squares of ln P1 on ln P2 with a constant gives alpha and beta. Least squares of the change of the spread on
    the lagged spread, with a constant, gives b, and −ln 2 / ln(1 + b) the half-life; b outside (−1, 0) is no mean
    reversion. Window = min(max(10, 2 half-lives), 60) and time stop = 3 half-lives, both rounded up to whole bars.
    NaN policy: rows where either close is missing are left out, and their neighbours count as neighbours.

    Raises:
        InputInvalid: fewer than 30 common bars, a price that is not positive, or prices that never move.
    """
    logs_1, logs_2 = _common_logs(closes_1, closes_2)
    alpha, beta = _line(logs_2, logs_1)
    half_life = half_life_of_spread(logs_1 - beta * logs_2 - alpha)
    return PairFit(
        alpha=alpha,
        beta=beta,
        half_life_bars=half_life,
        z_window_bars=int(window_bars(half_life, bounds)),
        time_stop_bars=int(time_stop_bars(half_life, bounds)),
        correlation=_correlation(np.diff(logs_1), np.diff(logs_2)),
    )


def half_life_bars(slope: Floats | float) -> Floats:
    """Turn slopes b of the change of a spread on its lagged level into half-lives, in bars: −ln 2 / ln(1 + b).

    b outside (−1, 0), or one that is no number, is no mean reversion: infinite. Any shape; it is kept.
    """
    slopes = np.asarray(slope, dtype=np.float64)
    reverting = (slopes > -1) & (slopes < 0)
    return np.where(reverting, -math.log(2) / np.log1p(np.where(reverting, slopes, -0.5)), math.inf)


def window_bars(half_life: Floats | float, bounds: FitBounds = DEFAULT_BOUNDS) -> Ints:
    """Say over how many bars z is taken: two half-lives within the bounds, rounded up. Any shape; it is kept."""
    bars = np.clip(2 * np.asarray(half_life, dtype=np.float64), bounds.min_window, bounds.max_window)
    return np.ceil(bars).astype(np.intp)


def time_stop_bars(half_life: Floats | float, bounds: FitBounds = DEFAULT_BOUNDS) -> Ints:
    """Say after how many bars a trade expires, rounded up; 0 where nothing reverts. Any shape; it is kept."""
    lives = np.asarray(half_life, dtype=np.float64)
    finite = np.isfinite(lives)
    return np.ceil(np.where(finite, bounds.time_stop_half_lives * np.where(finite, lives, 0.0), 0.0)).astype(np.intp)


def judge_fit(fit: PairFit, bounds: FitBounds = DEFAULT_BOUNDS) -> list[FitReason]:
    """List why a fit may not be traded; empty when it may. The bounds themselves are allowed."""
    reasons = []
    if not fit.beta > 0:
        reasons.append(FitReason.BETA_NOT_POSITIVE)
    if not math.isfinite(fit.half_life_bars):
        reasons.append(FitReason.NO_MEAN_REVERSION)
    elif fit.half_life_bars < bounds.min_half_life:
        reasons.append(FitReason.HALF_LIFE_SHORT)
    elif fit.half_life_bars > bounds.max_half_life:
        reasons.append(FitReason.HALF_LIFE_LONG)
    if not fit.correlation >= bounds.min_correlation:
        reasons.append(FitReason.LOW_CORRELATION)
    return reasons


def refuse_no_pair(name: str, fit: PairFit) -> None:
    """Refuse a fit that can't be held as a pair at all, good or bad.

    Raises:
        InputInvalid: its hedge ratio is not positive or absurd, or its spread does not revert.
    """
    if not 0 < fit.beta < MOST_BETA:
        raise InputInvalid(
            f"{name} is no pair: its hedge ratio is {fit.beta:.3g}, not between 0 and {MOST_BETA:.0f}."
        )
    if not fit.half_life_bars < MOST_HALF_LIFE or math.isnan(fit.correlation):
        raise InputInvalid(f"{name} is no pair: its spread does not revert in the fitted bars.")


def _common_logs(closes_1: Floats, closes_2: Floats) -> tuple[Floats, Floats]:
    both = ~(np.isnan(closes_1) | np.isnan(closes_2))
    if (count := int(both.sum())) < LEAST_BARS:
        raise InputInvalid(f"{count} common bars are too few for a fit: it needs at least {LEAST_BARS}.")
    common = np.stack([closes_1[both], closes_2[both]])
    if not (np.isfinite(common) & (common > 0)).all():
        raise InputInvalid("A close is not a positive number: check the stored bars.")
    logs = np.log(common)
    if (logs.std(axis=1) < 1e-10).any():
        raise InputInvalid("The closes of a leg never move: there is nothing to fit.")
    return logs[0], logs[1]


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    deviations = x - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = float(deviations @ (y - y.mean()) / (deviations @ deviations))
    return float(y.mean() - slope * x.mean()), slope


def half_life_of_spread(spread: Floats) -> float:
    """Fit the half-life of one spread of shape (T,), in bars; infinite where it does not revert or never moves."""
    # Two legs that move as one leave only rounding: nothing that could revert.
    if spread.std() < 1e-10:
        return math.inf
    _, slope = _line(spread[:-1], np.diff(spread))
    return float(half_life_bars(slope))


def _correlation(returns_1: Floats, returns_2: Floats) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.corrcoef(returns_1, returns_2)[0, 1])
