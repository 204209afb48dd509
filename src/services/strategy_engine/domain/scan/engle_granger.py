"""Engle–Granger of many pairs, both ways, in one pass.

The numbers are those of `statsmodels.tsa.stattools.coint(y, x, trend="c")`. No pair is looked at bar by bar: the
residual of a line is linear in both legs, so all that its unit-root test needs follows from products of the symbols'
series, and a matrix product gives these for a tile of symbols against a tile of symbols at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from src.services.strategy_engine.domain.fit import half_life_bars
from src.services.strategy_engine.domain.scan.mackinnon import cointegration_p_values
from src.services.strategy_engine.domain.scan.unit_root import (
    ResidualMoments,
    UnitRootTest,
    adf_with_all_lags,
    adf_with_best_lags,
)
from src.services.strategy_engine.domain.spread import LEAST_SD
from src.shared.domain.bars import Floats, Ints
from src.shared.domain.errors import InputInvalid

BY_AIC: Literal["aic"] = "aic"
Lags = int | Literal["aic"]
Codes = NDArray[np.uint8]

# What a line leaves of a leg's variance; below it statsmodels calls two legs collinear too.
LEAST_UNEXPLAINED = 100 * float(np.sqrt(np.finfo(np.float64).eps))
# Below this a residual is small beside its legs: taken from products of theirs it would lose digits.
_SMALL_RESIDUAL = 1e-3
# Symbols in a tile: large enough for the matrix product, small enough for its result to stay in the cache.
TILE = 64
# A tile with fewer pairs than one in so many is cheaper pair by pair.
_SPARSE = 40
_PAIRS_AT_ONCE = 256


class ScanProblem(IntEnum):
    """Why a pair has no test."""

    NONE = 0
    NOT_SCANNED = 1
    TOO_SHORT = 2
    FLAT_LEG = 3
    COLLINEAR = 4
    SINGULAR = 5


@dataclass(frozen=True, eq=False)
class PairScan:
    """What the scan says of P pairs. Of two rows the first is leg 1 on leg 2, the second leg 2 on leg 1.

    `legs` (2, P): columns of the scanned prices. `statistic`, `p_value`, `alpha`, `beta`, `lags`, `half_life_bars`
    (2, P): the t statistic of the residuals' unit root, MacKinnon's p-value, the line ln y = alpha + beta · ln x, the
    lags of the test, and bars until half of a deviation is gone (infinite: it does not revert). `correlation` (P,):
    of log returns. `problem` (P,): a `ScanProblem`. A pair with a problem has p = 1, an infinite half-life, no lags,
    and NaN where nothing can be said.
    """

    legs: Ints
    statistic: Floats
    p_value: Floats
    alpha: Floats
    beta: Floats
    lags: Ints
    half_life_bars: Floats
    correlation: Floats
    problem: Codes

    @property
    def count(self) -> int:
        """The number of pairs, P."""
        return int(self.legs.shape[1])

    @classmethod
    def without_numbers(cls, legs: Ints, problem: ScanProblem = ScanProblem.NOT_SCANNED) -> PairScan:
        """Stand for pairs that were not tested."""
        pairs = legs.shape[1]
        return cls(
            legs=legs,
            statistic=np.full((2, pairs), np.nan),
            p_value=np.ones((2, pairs)),
            alpha=np.full((2, pairs), np.nan),
            beta=np.full((2, pairs), np.nan),
            lags=np.zeros((2, pairs), dtype=np.intp),
            half_life_bars=np.full((2, pairs), np.inf),
            correlation=np.full(pairs, np.nan),
            problem=np.full(pairs, problem, dtype=np.uint8),
        )

    @classmethod
    def joined(cls, parts: Sequence[PairScan]) -> PairScan:
        """Put scans one after the other. Their legs must name columns of the same prices."""
        if not parts:
            return cls.without_numbers(np.empty((2, 0), dtype=np.intp))
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in _FIELDS})


_FIELDS = tuple(PairScan.__dataclass_fields__)


def all_pairs(symbols: int) -> Ints:
    """List every pair of so many columns once, the lower column first; shape (2, symbols · (symbols − 1) / 2)."""
    return np.stack(np.triu_indices(symbols, 1))


def default_max_lag(bars: int) -> int:
    """Say up to how many lags Akaike's criterion chooses: Schwert's 12 · (bars / 100) ^ ¼, as in statsmodels."""
    return max(0, min(int(np.ceil(12.0 * (bars / 100.0) ** 0.25)), bars // 2 - 1))


def scan_pairs(log_prices: Floats, legs: Ints, lags: Lags = BY_AIC, max_lag: int | None = None) -> PairScan:
    """Test pairs for cointegration, both ways.

    `log_prices` (T, S), oldest row first; `legs` (2, P), the columns of each pair's first and second leg. `lags` is
    the number of lags, or "aic": Akaike's criterion chooses up to `max_lag` (None: `default_max_lag`). Equal to
    `coint` of statsmodels with `maxlag=lags, autolag=None`, and with `maxlag=max_lag, autolag="aic"`.

    NaN policy: none is taken. Choose symbols and rows so that the matrix is complete; see `PairScan` for pairs that
    can't be tested (a leg that never moves, two legs that are one, fewer than 2 · (lags + 1) rows).

    Memory: `log_prices` a few times over and some 150 bytes a pair; what is between is kept in tiles.

    Raises:
        InputInvalid: prices are missing or no numbers, a leg names no column, or lags are negative.
    """
    most = _checked(log_prices, legs, lags, max_lag)
    bars, symbols = log_prices.shape
    if most > bars // 2 - 1 or bars - 1 - most <= most + 1:
        return PairScan.without_numbers(legs, ScanProblem.TOO_SHORT)
    found = PairScan.without_numbers(legs, ScanProblem.NONE)
    # The matrices of a tile are small: threads would wait for each other longer than they work.
    with threadpool_limits(limits=1, user_api="blas"):
        prices = _Prices(log_prices, most)
        for tile_1, tile_2, which in _tiles(legs, symbols):
            cross = _cross(prices, tile_1, tile_2, legs[:, which])
            _fill(found, which, prices, cross, by_aic=lags == BY_AIC)
    _mark_problems(found, prices)
    return found


class _Prices:
    """The symbols' series without their mean, and what they say by themselves.

    `mean` (S,), `centred` (T, S), its `changes` (T−1, S) and its `moments`, as if each were a residual; `returns`
    (T−1, S): the changes without their mean, of length 1; `flat` (S,): it never moves.
    """

    def __init__(self, logs: Floats, lags: int) -> None:
        self.lags = lags
        self.mean = logs.mean(axis=0)
        self.centred = np.ascontiguousarray(logs - self.mean)
        self.moments = ResidualMoments.of(self.centred, lags)
        self.changes = np.diff(self.centred, axis=0)
        unmoved = self.changes - self.changes.mean(axis=0)
        length = np.sqrt(np.einsum("ts,ts->s", unmoved, unmoved))
        with np.errstate(divide="ignore", invalid="ignore"):
            # Returns that never differ have no correlation; what rounding leaves of them is none either.
            self.returns = unmoved / np.where(length > LEAST_SD, length, np.nan)
        self.flat = np.sqrt(self.moments.squares / len(logs)) < LEAST_SD
        self._lagged_tile, self._lagged = -1, np.empty(0)

    def lagged(self, tile: int) -> Floats:
        """Return z (w+1, T−1, n) of a tile: Σ Δx[t]·z[k, t] is Σ Δx[t]·Δy[t−k] + Δy[t]·Δx[t−k]. The last is kept."""
        if tile != self._lagged_tile:
            changes = self.changes[:, _columns(tile)]
            rows = len(changes)
            sums = np.zeros((self.lags + 1, *changes.shape))
            for k in range(self.lags + 1):
                sums[k, self.lags :] += changes[self.lags - k : rows - k]
                sums[k, self.lags - k : rows - k] += changes[self.lags :]
            self._lagged_tile, self._lagged = tile, sums
        return self._lagged


@dataclass(frozen=True, eq=False)
class _Cross:
    """Products of the legs of n pairs: of levels (n,), of returns (n,), and of changes with lags both ways (w+1, n).

    `changes` is None where the pairs are few: their residuals are then taken bar by bar.
    """

    levels: Floats
    returns: Floats
    changes: Floats | None


def _checked(log_prices: Floats, legs: Ints, lags: Lags, max_lag: int | None) -> int:
    if log_prices.ndim != 2 or legs.ndim != 2 or legs.shape[0] != 2:
        raise InputInvalid("A scan takes prices of shape (bars, symbols) and legs of shape (2, pairs).")
    if not np.isfinite(log_prices).all():
        raise InputInvalid("A price to be scanned is missing or no number: choose symbols and bars without holes.")
    if legs.size and not (legs.min() >= 0 and legs.max() < log_prices.shape[1]):
        raise InputInvalid(f"A leg names no column: there are {log_prices.shape[1]}.")
    chosen_up_to = default_max_lag(len(log_prices)) if max_lag is None else max_lag
    most = chosen_up_to if isinstance(lags, str) else lags
    if most < 0:
        raise InputInvalid(f"{most} lags are too few: a scan takes 0 or more.")
    return most


def _tiles(legs: Ints, symbols: int) -> Iterator[tuple[int, int, Ints]]:
    """Go through the pairs by the tiles of their first and second legs: both tiles, and the places of their pairs."""
    side = -(-symbols // TILE)
    number = legs[1] // TILE * side + legs[0] // TILE
    order = np.argsort(number, kind="stable")
    begins = np.flatnonzero(np.diff(number[order], prepend=-1))
    for which in np.split(order, begins[1:]) if order.size else []:
        tile_2, tile_1 = divmod(int(number[which[0]]), side)
        yield tile_1, tile_2, which


def _columns(tile: int) -> slice:
    return slice(tile * TILE, (tile + 1) * TILE)


def _cross(prices: _Prices, tile_1: int, tile_2: int, legs: Ints) -> _Cross:
    """Multiply a tile of symbols with another, and take the products of the pairs that are asked for."""
    one, two = _columns(tile_1), _columns(tile_2)
    at = legs[0] - one.start, legs[1] - two.start
    levels = prices.centred[:, one].T @ prices.centred[:, two]
    returns = prices.returns[:, one].T @ prices.returns[:, two]
    changes = None
    if legs.shape[1] * _SPARSE >= levels.size:
        changes = (prices.changes[:, one].T @ prices.lagged(tile_2))[:, at[0], at[1]]
    return _Cross(levels[at], returns[at], changes)


def _fill(found: PairScan, which: Ints, prices: _Prices, cross: _Cross, *, by_aic: bool) -> None:
    """Write the numbers of some pairs into `found`."""
    squares = prices.moments.squares
    legs = found.legs[:, which]
    with np.errstate(divide="ignore", invalid="ignore"):
        betas = cross.levels / squares[legs[::-1]]  # (2, n)
        unexplained = 1 - betas[0] * betas[1]
    found.correlation[which] = np.clip(cross.returns, -1, 1)
    found.beta[:, which] = betas
    found.alpha[:, which] = prices.mean[legs] - betas * prices.mean[legs[::-1]]
    sound = ~prices.flat[legs].any(axis=0) & (unexplained > LEAST_UNEXPLAINED)
    found.problem[which[~(unexplained > LEAST_UNEXPLAINED)]] = ScanProblem.COLLINEAR
    bar_by_bar = sound if cross.changes is None else sound & (unexplained <= _SMALL_RESIDUAL)
    if cross.changes is not None:
        some = np.flatnonzero(sound & ~bar_by_bar)
        moments = _moments_of_tile(prices, legs[:, some], betas[:, some], cross.levels[some], cross.changes[:, some])
        _test(found, which[some], moments, by_aic=by_aic)
    for some in _some(np.flatnonzero(bar_by_bar), _PAIRS_AT_ONCE):
        y, x = legs[:, some].ravel(), legs[::-1, some].ravel()
        residuals = prices.centred[:, y] - betas[:, some].ravel() * prices.centred[:, x]
        _test(found, which[some], ResidualMoments.of(residuals, prices.lags), by_aic=by_aic)


def _some(rows: Ints, size: int) -> list[Ints]:
    return [rows[begin : begin + size] for begin in range(0, rows.size, size)]


def _moments_of_tile(prices: _Prices, legs: Ints, betas: Floats, levels: Floats, changes: Floats) -> ResidualMoments:
    """Combine the legs' moments into those of the residuals: first all of leg 1 on leg 2, then all of the reverse."""
    own = prices.moments
    y, x, beta = legs.ravel(), legs[::-1].ravel(), betas.ravel()
    products = own.products[:, x] * beta
    products -= np.concatenate([changes, changes], axis=1)
    products *= beta
    products += own.products[:, y]
    return ResidualMoments(
        own.length,
        products,
        own.head[:, y] - beta * own.head[:, x],
        own.tail[:, y] - beta * own.tail[:, x],
        own.squares[y] - beta * np.concatenate([levels, levels]),
    )


def _test(found: PairScan, which: Ints, moments: ResidualMoments, *, by_aic: bool) -> None:
    test: UnitRootTest = (adf_with_best_lags if by_aic else adf_with_all_lags)(moments)
    found.statistic[:, which] = test.statistic.reshape(2, -1)
    found.lags[:, which] = test.lags.reshape(2, -1)
    found.p_value[:, which] = cointegration_p_values(found.statistic[:, which])
    found.half_life_bars[:, which] = half_life_bars(_reversion(moments)).reshape(2, -1)


def _reversion(moments: ResidualMoments) -> Floats:
    """Slope of Δe[t] on e[t−1], with a constant, over all bars; shape (N,)."""
    rows = moments.length - 1
    first, last = moments.head[0], moments.tail[-1]
    squared_changes = moments.products[0] + (np.diff(moments.head, axis=0) ** 2).sum(axis=0)
    # e sums up to zero, so all but its last value sum up to −last.
    level, change = -last, last - first
    product = (last**2 - first**2 - squared_changes) / 2 - level * change / rows
    square = moments.squares - last**2 - level**2 / rows
    with np.errstate(divide="ignore", invalid="ignore"):
        slope: Floats = product / square
    return slope


def _mark_problems(found: PairScan, prices: _Prices) -> None:
    found.problem[prices.flat[found.legs].any(axis=0)] = ScanProblem.FLAT_LEG
    untested = np.isnan(found.statistic).any(axis=0) & (found.problem == ScanProblem.NONE)
    found.problem[untested] = ScanProblem.SINGULAR
    bad = found.problem != ScanProblem.NONE
    found.statistic[:, bad] = np.nan
    found.p_value[:, bad] = 1.0
    found.lags[:, bad] = 0
    found.half_life_bars[:, bad] = np.inf
    flat = found.problem == ScanProblem.FLAT_LEG
    found.alpha[:, flat] = found.beta[:, flat] = np.nan
