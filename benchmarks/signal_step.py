"""How long the signal step takes: spreads, z and decisions of many pairs, alone and with the database.

`measure(engine)` returns one row for each size. The reference is the obvious loop, run on the same closes in the same
process: for each pair pandas' rolling windows, and with the database two reads and three inserts a pair, in one
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, delete, insert, select

from benchmarks.rows import Row, median_milliseconds
from benchmarks.scratch import trading_database
from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import build, thresholds
from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair, evaluate_pairs
from src.shared.domain.bars import HOURLY, CloseSeries, Floats
from src.shared.domain.ids import slot_key
from src.shared.domain.pairs import Pair, PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import Signal, SignalAction
from src.shared.infra.database.tables import market_data, outbox, pair_registry, pair_signal, pair_spread
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.messages.signals import SignalRaised
from tests.fakes.stored_market import store_closes, store_pairs

SIZES = (1, 50, 500)
BARS = 500
SYMBOLS = 200
REPEATS = 5
LOOP_REPEATS = 2
PURE_AIM_MS = 100.0
DATABASE_AIM_MS = 500.0
PURE_LOOP = "loop over pairs with pandas rolling, z only"
DATABASE_LOOP = "loop over pairs: two reads, pandas rolling, three inserts each"
CLOSE = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
SLOT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)


def rows() -> list[Row]:
    """Measure on a PostgreSQL of its own."""
    with trading_database() as database:
        return measure(database.engine)


def measure(engine: Engine, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Measure every number of pairs. `engine` is a migrated, empty trading database that is filled here."""
    calendar = TradingCalendar()
    series = _market(calendar)
    pairs = _pairs(max(sizes))
    pure = [_pure(series, pairs[:size], calendar) for size in sizes]
    store_closes(engine, series.symbols, series.ends, series.closes)
    return pure + [_with_database(engine, series, pairs[:size]) for size in sizes]


def _pure(series: CloseSeries, pairs: Sequence[Pair], calendar: TradingCalendar) -> Row:
    watched = [WatchedPair(pair) for pair in pairs]
    at, limits = SlotTime(SLOT, SLOT + timedelta(seconds=5), CLOSE), thresholds(load_settings().strategy)
    taken = median_milliseconds(lambda: evaluate_pairs(watched, series, at, limits, calendar), REPEATS)
    loop = median_milliseconds(lambda: [_rolling_z(series, pair) for pair in pairs], REPEATS)
    name = f"signal step, {len(pairs)} pairs × {BARS} bars, pure"
    return Row(name, taken, "ms", PURE_LOOP, loop, PURE_AIM_MS)


def _with_database(engine: Engine, series: CloseSeries, pairs: Sequence[Pair]) -> Row:
    """Time evaluate_slot: read pairs and closes, decide, write spreads, signals and events, read back, commit."""
    _register_only(engine, pairs)
    service = build(load_settings(), engine)

    def evaluate() -> None:
        found = service.evaluate_slot(SLOT, SLOT + timedelta(seconds=5), CLOSE)
        assert len(found.signals) == len(pairs)

    def forget() -> None:
        _forget_signals(engine)

    taken = median_milliseconds(evaluate, REPEATS, forget)
    loop = median_milliseconds(lambda: _loop_with_database(engine, series.ends, pairs), LOOP_REPEATS, forget)
    name = f"signal step, {len(pairs)} pairs, {BARS} bars stored, with PostgreSQL"
    return Row(name, taken, "ms", DATABASE_LOOP, loop, DATABASE_AIM_MS)


def _rolling_z(series: CloseSeries, pair: Pair) -> float:
    one, two = series.pair(pair.symbol_1, pair.symbol_2)
    spread = pd.Series(np.log(one) - pair.beta * np.log(two) - pair.alpha)
    rolling = spread.rolling(pair.z_window_bars)
    return float(((spread - rolling.mean()) / rolling.std(ddof=1)).iloc[-1])


def _loop_with_database(engine: Engine, ends: Sequence[datetime], pairs: Sequence[Pair]) -> None:
    with engine.begin() as connection:
        for pair in pairs:
            legs = [_closes(connection, symbol, ends) for symbol in (pair.symbol_1, pair.symbol_2)]
            z = _rolling_z(CloseSeries((pair.symbol_1, pair.symbol_2), tuple(ends), np.column_stack(legs)), pair)
            _write(connection, pair, z)


def _closes(connection: Connection, symbol: str, ends: Sequence[datetime]) -> list[float]:
    bars = select(market_data.c.close).where(
        market_data.c.symbol == symbol,
        market_data.c.timeframe == HOURLY,
        market_data.c.bar_end.between(ends[0], SLOT),
    )
    return list(connection.execute(bars.order_by(market_data.c.bar_end)).scalars())


def _write(connection: Connection, pair: Pair, z: float) -> None:
    signal = Signal(pair.id, SLOT, SignalAction.STAY_OUT, "BELOW_ENTRY", None)
    key = {"pair_id": pair.id, "slot": SLOT}
    facts = {"action": signal.action.value, "reason": signal.reason, "pair_mode": pair.mode.value}
    connection.execute(insert(pair_signal).values(signal_id=signal.id, **key, **facts, numbers={"z": z}))
    prices = {"price_1": 1.0, "price_2": 1.0, "spread": 0.0, "mean": 0.0, "sd": 1.0, "z": z}
    connection.execute(insert(pair_spread).values(**key, **prices, window_bars=pair.z_window_bars))
    told = {"pair_id": pair.id, "action": signal.action.value, "reason": signal.reason, "z": z}
    event = SignalRaised.of(signal.id, 1, SLOT, slot_key(SLOT), **told)
    connection.execute(insert(outbox).values(**outbox_row(event)))


def _market(calendar: TradingCalendar) -> CloseSeries:
    ends = tuple(end for _, end in calendar.last_spans(SLOT, BARS))
    steps = np.random.default_rng(7).normal(0, 0.005, (BARS, SYMBOLS))
    closes: Floats = 80.0 * np.exp(steps.cumsum(axis=0))
    return CloseSeries(tuple(f"S{i:03d}" for i in range(SYMBOLS)), ends, closes)


def _pairs(count: int) -> list[Pair]:
    rng = np.random.default_rng(11)
    legs = [(i, j) for i in range(SYMBOLS) for j in range(i + 1, SYMBOLS)]
    chosen = [legs[k] for k in rng.choice(len(legs), count, replace=False)]
    windows = rng.integers(10, 61, count).tolist()
    return [
        Pair(f"S{i:03d}", f"S{j:03d}", 0.0, 1.0, window / 2, window, 60, PairMode.ACTIVE)
        for (i, j), window in zip(chosen, windows, strict=True)
    ]


def _register_only(engine: Engine, pairs: Sequence[Pair]) -> None:
    _forget_signals(engine)
    with engine.begin() as connection:
        connection.execute(delete(pair_registry))
    store_pairs(engine, pairs)


def _forget_signals(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in (pair_spread, pair_signal, outbox):
            connection.execute(delete(table))
