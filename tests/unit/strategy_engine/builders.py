"""Small makers of the values that the strategy's tests speak of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from src.services.strategy_engine.domain.decision import Context, Thresholds, TradeInHand, TradeState
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState
from src.shared.domain.signals import SpreadReading

SLOT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
LONG, SHORT = Direction.LONG_SPREAD, Direction.SHORT_SPREAD


def make_pair(
    symbol_1: str = "KO",
    symbol_2: str = "PEP",
    *,
    alpha: float = 0.0,
    beta: float = 1.0,
    window: int = 10,
    half_life: float = 5.0,
    time_stop: int = 15,
    mode: PairMode = PairMode.ACTIVE,
) -> Pair:
    return Pair(symbol_1, symbol_2, alpha, beta, half_life, window, time_stop, mode)


def make_thresholds(*, overnight: bool = False) -> Thresholds:
    return Thresholds(entry_z=2.0, exit_z=0.5, stop_z=3.0, max_slot_age=timedelta(minutes=15), overnight=overnight)


def make_reading(z: float) -> SpreadReading:
    return SpreadReading(price_1=60.0, price_2=170.0, spread=z, mean=0.0, sd=1.0, z=z, window_bars=10)


def make_context(pair: Pair | None = None, *, age_seconds: float = 5.0, minutes_to_close: float = 240.0) -> Context:
    return Context(pair or make_pair(), timedelta(seconds=age_seconds), timedelta(minutes=minutes_to_close))


def holding(direction: Direction, held_bars: int = 3, state: PairTradeState = PairTradeState.OPEN) -> TradeState:
    return TradeState(TradeInHand(direction, state, held_bars))


def make_series(symbols: tuple[str, ...], closes: Floats, last: datetime = SLOT) -> CloseSeries:
    count = len(closes)
    ends = tuple(last - timedelta(hours=count - 1 - i) for i in range(count))
    return CloseSeries(symbols, ends, np.asarray(closes, dtype=np.float64))
