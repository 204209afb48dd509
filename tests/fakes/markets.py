"""Whole markets of hourly closes: the twin's own, whose pairs are known, and walks that have no pair."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

import numpy as np

from src.services.twin.bootstrap import build_market
from src.services.twin.domain.market import SESSION_HOUR
from src.services.twin.domain.synthetic import DESIGNS
from src.shared.domain.bars import Floats

TWIN_SEED = 7
TWIN_SYMBOLS = tuple(sorted({symbol for design in DESIGNS for symbol in (design.symbol_1, design.symbol_2)}))
TRUE_PAIRS = frozenset(frozenset((d.symbol_1, d.symbol_2)) for d in DESIGNS if d.kind == "cointegrated")


def twin_closes(ends: Sequence[datetime]) -> Floats:
    """Return the closes of `TWIN_SYMBOLS` at the slots `ends`, NaN in a gap; shape (T, S)."""
    return np.array([[column.get(round(end.timestamp()), np.nan) for column in _twin_columns()] for end in ends])


def walks(seed: int, symbols: int, bars: int, common: float = 0.8) -> Floats:
    """Make closes that wander, each by itself beside what all have in common; shape (bars, symbols).

    `common` is the correlation of any two symbols' returns.
    """
    rng = np.random.default_rng(seed)
    market, own = rng.normal(0, 0.005, (bars, 1)), rng.normal(0, 0.005, (bars, symbols))
    returns = np.sqrt(common) * market + np.sqrt(1 - common) * own
    closes: Floats = 80 * np.exp(returns.cumsum(axis=0))
    return closes


def names(count: int) -> tuple[str, ...]:
    """Name so many symbols, in alphabetical order."""
    return tuple(f"W{number:04d}" for number in range(count))


@cache
def _twin_columns() -> tuple[dict[int, float], ...]:
    market = build_market(TWIN_SEED, None)
    columns = []
    for symbol in TWIN_SYMBOLS:
        series = market.series(symbol, SESSION_HOUR)
        columns.append({end // 1_000_000: row["c"] for end, row in zip(series.end, series.rows, strict=True)})
    return tuple(columns)
