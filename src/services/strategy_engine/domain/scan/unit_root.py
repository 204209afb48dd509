"""The augmented Dickey–Fuller regression of many residual series at once, from their moments alone.

The regression of lag p is Δe[t] on e[t−1], Δe[t−1] … Δe[t−p], without a constant, over t = p+1 … T−1. All its sums of
products follow from p + 1 autocovariances of Δe and from the first and last p + 1 values of e: a step down the
diagonal of the Gram matrix adds one product at the front of the window and drops one at its end, and the products
with the level telescope. So nothing here is as long as the series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.shared.domain.bars import Floats, Ints

# Series solved together: their matrices stay in the cache of a core.
BLOCK = 1024
# Below this share of its own length a regressor is nothing but the others: only rounding would be left to divide by.
LEAST_PIVOT = 1e-10


@dataclass(frozen=True, eq=False)
class ResidualMoments:
    """What N residual series of T values say to every regression with up to w lags.

    `products` (w+1, N): the sum of Δe[t]·Δe[t−k] over t = w+1 … T−1 in row k. `head`, `tail` (w+1, N): the first and
    the last values of e, oldest first. `squares` (N,): the sum of e² over all T. The mean of e is zero.
    """

    length: int
    products: Floats
    head: Floats
    tail: Floats
    squares: Floats

    @classmethod
    def of(cls, residuals: Floats, lags: int) -> ResidualMoments:
        """Take them from residuals of shape (T, N)."""
        length = len(residuals)
        changes = np.diff(residuals, axis=0)
        now = changes[lags:]
        earlier = [changes[lags - k : length - 1 - k] for k in range(lags + 1)]
        products = np.stack([np.einsum("tn,tn->n", now, each) for each in earlier])
        squares = np.einsum("tn,tn->n", residuals, residuals)
        return cls(length, products, residuals[: lags + 1], residuals[length - 1 - lags :], squares)

    @property
    def lags(self) -> int:
        """The most lags they serve, w."""
        return len(self.products) - 1

    def take(self, which: Ints | slice) -> ResidualMoments:
        """Choose among the N series."""
        return ResidualMoments(
            self.length,
            self.products[:, which],
            self.head[:, which],
            self.tail[:, which],
            self.squares[which],
        )

    def shortened(self, lags: int) -> ResidualMoments:
        """Return those of fewer lags: their window begins earlier."""
        products = self.products[: lags + 1].copy()
        changes = np.diff(self.head, axis=0)  # row t−1 holds Δe[t]
        for t in range(lags + 1, self.lags + 1):
            products += changes[t - 1] * changes[t - 1 - lags : t][::-1]
        return ResidualMoments(
            self.length, products, self.head[: lags + 1], self.tail[self.lags - lags :], self.squares
        )


@dataclass(frozen=True, eq=False)
class UnitRootTest:
    """The t statistic of the level and the lags used, both of shape (N,); NaN where it can't be computed."""

    statistic: Floats
    lags: Ints


def adf_with_all_lags(moments: ResidualMoments) -> UnitRootTest:
    """Test with all the lags that the moments serve."""
    count = moments.squares.size
    statistic = np.empty(count)
    for block in _blocks(count):
        statistic[block] = _regress(moments.take(block)).statistic()
    return UnitRootTest(statistic, np.full(count, moments.lags, dtype=np.intp))


def adf_with_best_lags(moments: ResidualMoments) -> UnitRootTest:
    """Choose for each series the lags by Akaike's criterion, all on one window, and test with them on their own."""
    count = moments.squares.size
    lags = np.empty(count, dtype=np.intp)
    for block in _blocks(count):
        lags[block] = _regress(moments.take(block)).best_lags()
    statistic = np.empty(count)
    for used in np.unique(lags):
        which = np.flatnonzero(lags == used)
        statistic[which] = adf_with_all_lags(moments.take(which).shortened(int(used))).statistic
    return UnitRootTest(statistic, lags)


@dataclass(frozen=True, eq=False)
class _Regressions:
    """The regressions with 0 … w lags on one window of `rows` bars, all of shape (w+1, N).

    What the lags leave of the level and of the change: the squared length of the level, its product with the change,
    and the squared length of the change.
    """

    rows: int
    level: Floats
    product: Floats
    change: Floats

    def squared_errors(self) -> Floats:
        """Sum the squared residuals; shape (w+1, N), NaN where level or errors are only rounding."""
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = self.change - self.product**2 / self.level
            sound = (self.level > LEAST_PIVOT * self.level[0]) & (errors > LEAST_PIVOT * self.change[0])
        return np.where(sound, errors, np.nan)

    def statistic(self) -> Floats:
        """Return the t statistic of the level with all w lags; shape (N,)."""
        variance = self.squared_errors()[-1] / (self.rows - len(self.level))
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = self.product[-1] / np.sqrt(self.level[-1] * variance)
        return found

    def best_lags(self) -> Ints:
        """Return the number of lags with the least criterion, the fewer where two are equal; shape (N,)."""
        criterion = self.rows * np.log(self.squared_errors()) + 2 * np.arange(len(self.level))[:, None]
        best: Ints = np.where(np.isnan(criterion), np.inf, criterion).argmin(axis=0)
        return best


def _blocks(count: int) -> list[slice]:
    return [slice(begin, begin + BLOCK) for begin in range(0, count, BLOCK)]


def _regress(moments: ResidualMoments) -> _Regressions:
    """Take the lags out of level and change, one after the other, by the Cholesky factor of their Gram matrix."""
    lags, count = moments.lags, moments.squares.size
    head, tail = moments.head, moments.tail
    # Row j holds Δe[w−j] and Δe[T−1−j].
    entering, leaving = np.diff(head, axis=0)[::-1], np.diff(tail, axis=0)[::-1]

    # Rows: change, its lags 1 … w, the level, and the change again; columns: change, lags 1 … w.
    gram = np.empty((lags + 3, lags + 1, count))
    gram[: lags + 1, 0] = moments.products
    for a in range(1, lags + 1):
        row = gram[a, 1 : a + 1]
        np.multiply(entering[:a], entering[a - 1], out=row)
        row -= leaving[:a] * leaving[a - 1]
        row += gram[a - 1, :a]
    own = gram[np.arange(lags + 1), np.arange(lags + 1)]
    # Σ e[t−1]·Δe[t−a], by e[t−1] = e[t−1−a] + Δe[t−a] + … + Δe[t−1].
    level = gram[lags + 1]
    np.subtract(tail[::-1] ** 2, head[::-1] ** 2, out=level)
    level -= own
    level *= 0.5
    for a in range(1, lags + 1):
        level[a] += gram[a, 1 : a + 1].sum(axis=0)
    gram[lags + 2] = gram[: lags + 1, 0]
    _factorise(gram[1:, 1:], own[1:])

    left = np.empty((3, lags + 1, count))
    left[0, 0] = moments.squares - (head[:-1] ** 2).sum(axis=0) - tail[-1] ** 2
    left[1, 0], left[2, 0] = level[0], own[0]
    for p in range(1, lags + 1):
        of_level, of_change = gram[lags + 1 :, p]
        left[0, p] = left[0, p - 1] - of_level * of_level
        left[1, p] = left[1, p - 1] - of_level * of_change
        left[2, p] = left[2, p - 1] - of_change * of_change
    return _Regressions(moments.length - 1 - lags, *left)


def _factorise(rows: Floats, own: Floats) -> None:
    """Turn the lower triangle of the first w rows into its Cholesky factor, and solve the rows below by it.

    `rows` (w+2, w, N), changed in place; `own` (w, N), its diagonal. A pivot that is only rounding makes what follows
    NaN.
    """
    for j in range(len(own)):
        column = rows[j:, j]
        if j:
            column -= np.einsum("ikn,kn->in", rows[j:, :j], rows[j, :j])
        pivot = np.sqrt(np.where(column[0] > LEAST_PIVOT * own[j], column[0], np.nan))
        column /= pivot
