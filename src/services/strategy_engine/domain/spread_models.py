"""Models of the line between two legs, behind one interface.

Every model knows before a bar what it measures that bar with: alpha[t] and beta[t] come from bars before t. So no
path holds anything that was not known at its time, and spread[t] is a deviation that the bar itself had no part in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from src.services.strategy_engine.domain.spread import LEAST_SD
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid

LEAST_WINDOW = 3


@dataclass(frozen=True, eq=False)
class SpreadPath:
    """spread[t] = ln P1[t] − beta[t] · ln P2[t] − alpha[t]; each of shape (T,), NaN while the model knows no line."""

    alpha: Floats
    beta: Floats
    spread: Floats


class SpreadModel(Protocol):
    """Something that says, bar by bar, by which line one leg follows the other."""

    @property
    def name(self) -> str:
        """What the model is called where it is chosen."""
        ...

    def fit(self, closes_1: Floats, closes_2: Floats) -> SpreadPath:
        """Go along two aligned columns of closes, each of shape (T,), oldest first.

        Raises:
            InputInvalid: a close is missing or not positive, the columns differ in length, or there are too few bars.
        """
        ...


@dataclass(frozen=True)
class StaticOls:
    """One line for good: least squares on the first `bars` bars, NaN until they are over."""

    bars: int
    name: str = "static_ols"

    def __post_init__(self) -> None:
        """Refuse a span that holds no line."""
        _refuse_short(self.bars)

    def fit(self, closes_1: Floats, closes_2: Floats) -> SpreadPath:
        """See `SpreadModel.fit`."""
        logs_1, logs_2 = _logs(closes_1, closes_2, self.bars)
        alphas, betas = np.full((2, len(logs_1)), np.nan)
        alpha, beta = _lines(logs_1[None, : self.bars], logs_2[None, : self.bars])
        alphas[self.bars :], betas[self.bars :] = alpha[0], beta[0]
        return _path(logs_1, logs_2, alphas, betas)


@dataclass(frozen=True)
class RollingOls:
    """A new line for each bar: least squares on the `window` bars before it, NaN until there are so many."""

    window: int
    name: str = "rolling_ols"

    def __post_init__(self) -> None:
        """Refuse a window that holds no line."""
        _refuse_short(self.window)

    def fit(self, closes_1: Floats, closes_2: Floats) -> SpreadPath:
        """See `SpreadModel.fit`. A window in which leg 2 does not move has no line: NaN."""
        logs_1, logs_2 = _logs(closes_1, closes_2, self.window)
        alphas, betas = np.full((2, len(logs_1)), np.nan)
        windows_1, windows_2 = (
            np.lib.stride_tricks.sliding_window_view(each[:-1], self.window) for each in (logs_1, logs_2)
        )
        alphas[self.window :], betas[self.window :] = _lines(windows_1, windows_2)
        return _path(logs_1, logs_2, alphas, betas)


@dataclass(frozen=True)
class Kalman:
    """A line that drifts: alpha and beta are random walks, seen through ln P1 = alpha + beta · ln P2 + noise.

    `delta` is how freely they drift: each step has the variance delta / (1 − delta). `observation_variance` is that
    of the noise, in squared log prices. Both start at zero with `prior_variance`; what the first `warm_up_bars` bars
    say is not told.
    """

    delta: float = 1e-5
    observation_variance: float = 1e-3
    prior_variance: float = 1.0
    warm_up_bars: int = 30
    name: str = "kalman"

    def __post_init__(self) -> None:
        """Refuse parameters of no filter."""
        if not 0 <= self.delta < 1:
            raise InputInvalid(f"delta is {self.delta:g}: a Kalman filter takes one from 0 to below 1.")
        if self.warm_up_bars < 0:
            raise InputInvalid(f"warm_up_bars is {self.warm_up_bars}: a Kalman filter takes 0 or more.")
        variances = {"observation_variance": self.observation_variance, "prior_variance": self.prior_variance}
        for name, value in variances.items():
            if not 0 < value < np.inf:
                raise InputInvalid(f"{name} is {value:g}: a Kalman filter takes a positive number.")

    def fit(self, closes_1: Floats, closes_2: Floats) -> SpreadPath:
        """See `SpreadModel.fit`."""
        logs_1, logs_2 = _logs(closes_1, closes_2, self.warm_up_bars)
        drift = self.delta / (1 - self.delta)
        alphas, betas = np.empty((2, len(logs_1)))
        alpha = beta = 0.0
        # Variances of alpha and beta before the bar, and their covariance.
        var_a, cov, var_b = self.prior_variance, 0.0, self.prior_variance
        for t, (y, x) in enumerate(zip(logs_1.tolist(), logs_2.tolist(), strict=True)):
            alphas[t], betas[t] = alpha, beta
            with_a, with_b = var_a + cov * x, cov + var_b * x
            seen = with_a + with_b * x + self.observation_variance
            surprise = y - alpha - beta * x
            alpha += with_a / seen * surprise
            beta += with_b / seen * surprise
            var_a += drift - with_a * with_a / seen
            cov -= with_a * with_b / seen
            var_b += drift - with_b * with_b / seen
        alphas[: self.warm_up_bars] = betas[: self.warm_up_bars] = np.nan
        return _path(logs_1, logs_2, alphas, betas)


def _refuse_short(bars: int) -> None:
    if bars < LEAST_WINDOW:
        raise InputInvalid(f"{bars} bars hold no line: take at least {LEAST_WINDOW}.")


def _logs(closes_1: Floats, closes_2: Floats, least: int) -> tuple[Floats, Floats]:
    if closes_1.shape != closes_2.shape or closes_1.ndim != 1:
        raise InputInvalid("The closes of both legs must be columns of the same length.")
    if len(closes_1) <= least:
        raise InputInvalid(f"{len(closes_1)} bars are too few: this model needs more than {least}.")
    both = np.stack([closes_1, closes_2])
    if not (np.isfinite(both) & (both > 0)).all():
        raise InputInvalid("A close is missing or not a positive number: check the stored bars.")
    logs: Floats = np.log(both)
    return logs[0], logs[1]


def _lines(y: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Fit a line to each row of two arrays of shape (N, W); alpha and beta have shape (N,)."""
    mean_y, mean_x = y.mean(axis=1), x.mean(axis=1)
    off_x = x - mean_x[:, None]
    squares = (off_x**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = squares > LEAST_SD**2 * x.shape[1]
        beta = np.where(moved, (off_x * (y - mean_y[:, None])).sum(axis=1) / squares, np.nan)
    return mean_y - beta * mean_x, beta


def _path(logs_1: Floats, logs_2: Floats, alphas: Floats, betas: Floats) -> SpreadPath:
    return SpreadPath(alphas, betas, logs_1 - betas * logs_2 - alphas)
