"""A made-up market on which a strategy is tried before it sees a real one: the same each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from src.services.strategy_engine.domain.evaluation import WatchedPair
from src.shared.domain.bars import BarSeries, CloseSeries, Floats
from src.shared.domain.ids import parse_pair_id
from src.shared.domain.pairs import Pair, PairMode
from src.shared.domain.sessions import TradingCalendar

MADE_UP_PAIRS = ("AAA/BBB", "CCC/DDD")
"""What "all" pairs are in a rehearsal."""

_SEED = 7
_LAST = datetime(2025, 6, 27, 20, 0, tzinfo=UTC)
_BASE_PRICE = 100.0
# Deviations of one bar's log return that all symbols share, and of what each has by itself.
_COMMON_SD, _OWN_SD = 0.003, 0.006
_REVERSION = 0.9
_HALF_LIFE = -math.log(2.0) / math.log(_REVERSION)


def made_up_closes(symbols: Sequence[str], bars: int, missing_at: int, calendar: TradingCalendar) -> CloseSeries:
    """Make hourly closes of S symbols, shape (bars, S), that move together and come back to one another.

    The first symbol has no bar in row `missing_at`, as happens to everybody.
    """
    ends = tuple(end for _, end in calendar.last_spans(_LAST, bars))
    generator = np.random.default_rng(_SEED)
    common = np.cumsum(_COMMON_SD * generator.standard_normal(bars))
    closes = _BASE_PRICE * np.exp(common[:, None] + _reverting(generator.standard_normal((bars, len(symbols)))))
    if symbols:
        closes[missing_at, 0] = np.nan
    return CloseSeries(tuple(symbols), ends, closes)


def made_up_bars(series: CloseSeries) -> BarSeries:
    """Make whole bars around closes: each opens at the close before it, and goes a little beyond both."""
    closes = series.closes
    opens = np.concatenate([closes[:1], closes[:-1]])
    opens = np.where(np.isnan(opens), closes, opens)
    opens[np.isnan(closes)] = np.nan
    generator = np.random.default_rng(_SEED)
    beyond = 1 + _OWN_SD * generator.random((2, *closes.shape))
    volume = np.where(np.isnan(closes), np.nan, generator.integers(1_000, 100_000, closes.shape))
    high, low = np.maximum(opens, closes) * beyond[0], np.minimum(opens, closes) / beyond[1]
    return BarSeries(series.symbols, series.ends, opens, high, low, closes, volume)


def made_up_pairs(named: str | Sequence[str]) -> tuple[WatchedPair, ...]:
    """Make registered pairs of the names, or of made-up ones for "all", that fit these closes."""
    names = MADE_UP_PAIRS if named == "all" else named
    return tuple(WatchedPair(_pair(*parse_pair_id(name))) for name in names)


def legs_of(pairs: Sequence[WatchedPair]) -> list[str]:
    """List the symbols of pairs, each once."""
    return list(dict.fromkeys(leg for each in pairs for leg in (each.pair.symbol_1, each.pair.symbol_2)))


def _reverting(shocks: Floats) -> Floats:
    own = np.zeros_like(shocks)
    for i in range(1, len(shocks)):
        own[i] = _REVERSION * own[i - 1] + _OWN_SD * shocks[i]
    return own


def _pair(symbol_1: str, symbol_2: str) -> Pair:
    window, time_stop = math.ceil(2 * _HALF_LIFE), math.ceil(3 * _HALF_LIFE)
    return Pair(symbol_1, symbol_2, 0.0, 1.0, _HALF_LIFE, window, time_stop, PairMode.ACTIVE)
