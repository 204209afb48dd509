"""Bars, pairs and trades put into a real database, in bulk, without the services that usually write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import numpy as np
from sqlalchemy import Connection, Engine, delete, insert, text

from src.services.data_ingestion.adapters.bar_table import BarTable
from src.services.strategy_engine.domain.reasons import DATA_FAULTS, Reason
from src.shared.domain.bars import (
    DAILY,
    HOURLY,
    BarColumns,
    BarKind,
    Floats,
    Moments,
    Series,
    StoredBars,
    as_datetime,
)
from src.shared.domain.ids import pair_trade_id
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.binary_copy import Field, copy_into
from src.shared.infra.database.tables import (
    corporate_action,
    earnings_dates,
    market_data,
    pair_signal,
    pair_trade,
    stock_splits,
)
from tests.fakes.pairs import write_pair

_LOAD = UUID(int=1)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

_BARS = text("""
    INSERT INTO data_ingestion.market_data
           (symbol, timeframe, bar_end, vendor, adjustment, bar_start, open, high, low, close, volume, load_run_id)
    SELECT :symbol, :timeframe, b.bar_end, 'alpaca', 'split', b.bar_end - interval '1 hour',
           b.close, b.close, b.close, b.close, 1000, :load_run_id
      FROM unnest(CAST(:ends AS timestamptz[]), CAST(:closes AS float8[])) AS b(bar_end, close)
        ON CONFLICT (symbol, timeframe, vendor, adjustment, bar_end) DO UPDATE SET close = excluded.close,
           open = excluded.open, high = excluded.high, low = excluded.low
""")

_BAR_COLUMNS = (
    "symbol", "timeframe", "vendor", "adjustment", "load_run_id", "bar_start", "bar_end", "open", "high", "low",
    "close", "volume", "recorded_at",
)  # fmt: skip

_REMOVE_BARS = text("""
    DELETE FROM data_ingestion.market_data
     WHERE symbol = :symbol AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment
       AND bar_end = ANY (CAST(:ends AS timestamptz[]))
""")


def store_closes(engine: Engine, symbols: Sequence[str], ends: Sequence[datetime], closes: Floats) -> None:
    """Store one bar for each close of shape (T, S); where it is NaN no bar is stored."""
    with engine.begin() as connection:
        connection.execute(text(_LOAD_RUN), {"id": _LOAD, "at": _LONG_AGO, "end": _LONG_AGO + timedelta(days=1)})
        add_months(connection, min(ends), max(ends))
        for symbol, column in zip(symbols, closes.T, strict=True):
            there = np.flatnonzero(~np.isnan(column)).tolist()
            bars = {"ends": [ends[i] for i in there], "closes": column[there].tolist()}
            connection.execute(_BARS, {"symbol": symbol, "timeframe": HOURLY, "load_run_id": _LOAD, **bars})


def store_bars(engine: Engine, kind: BarKind, series: Mapping[str, StoredBars]) -> None:
    """Store bars as they are, each in the place of the one that ended at its time."""
    filled = {symbol: bars for symbol, bars in series.items() if len(bars)}
    first, last = (as_datetime(edge(bars.end[i] for bars in filled.values())) for edge, i in ((min, 0), (max, -1)))
    length = np.timedelta64(1, "D" if kind.timeframe == DAILY else "h")
    with engine.begin() as connection:
        connection.execute(text(_LOAD_RUN), {"id": _LOAD, "at": _LONG_AGO, "end": _LONG_AGO + timedelta(days=1)})
        add_months(connection, first, last)
        remove_bars(connection, kind, {symbol: bars.end for symbol, bars in filled.items()})
        blocks: list[list[Field]] = [
            [
                symbol, kind.timeframe, kind.vendor, kind.adjustment, _LOAD.bytes, bars.end - length, bars.end,
                bars.open, bars.high, bars.low, bars.close, bars.volume, bars.recorded_at,
            ]
            for symbol, bars in filled.items()
        ]  # fmt: skip
        copy_into(connection, "data_ingestion.market_data", _BAR_COLUMNS, blocks)


def remove_bars(connection: Connection, kind: BarKind, ends: Mapping[str, Moments]) -> None:
    """Remove the bars that end then."""
    series = {"timeframe": kind.timeframe, "vendor": kind.vendor, "adjustment": kind.adjustment}
    for symbol, times in ends.items():
        gone = {"symbol": symbol, "ends": [as_datetime(time) for time in times]}
        connection.execute(_REMOVE_BARS, {**series, **gone})


def store_pairs(engine: Engine, pairs: Sequence[Pair]) -> None:
    """Register pairs as they are."""
    fitted = {"correlation": 0.9, "fitted_from": _LONG_AGO, "fitted_to": _LONG_AGO, "updated_at": _LONG_AGO}
    rows = [{"pair_id": pair.id, **asdict(pair), **fitted, "source": "test"} for pair in pairs]
    with engine.begin() as connection:
        for row in rows:
            write_pair(connection, row)


def store_trade(
    engine: Engine, pair: Pair, direction: Direction, slot: datetime, state: PairTradeState = PairTradeState.OPEN
) -> UUID:
    """Store a pair trade that was entered in `slot` and is in `state`."""
    row = trade_row(pair, direction, slot, state)
    with engine.begin() as connection:
        connection.execute(insert(pair_trade).values(**row))
    return pair_trade_id("twin", pair.id, slot)


def store_signal(
    engine: Engine, pair: str, slot: datetime, reason: str = "BELOW_ENTRY", mode: PairMode = PairMode.OBSERVE
) -> None:
    """Store what was decided about a pair in a slot: nothing, for a reason."""
    undecided = {Reason.FROZEN, *DATA_FAULTS}
    action = SignalAction.NO_DECISION if reason in undecided else SignalAction.STAY_OUT
    row = {"pair_id": pair, "slot": slot, "action": action.value, "reason": reason, "pair_mode": mode.value}
    with engine.begin() as connection:
        connection.execute(insert(pair_signal).values(signal_id=signal_id(pair, slot), numbers={}, **row))


def store_split(engine: Engine, symbol: str, day: date, teller: str = "broker") -> None:
    """Store the announcement of a split of four shares for one, as the broker or a vendor tells it."""
    if teller != "broker":
        shares = {"old_shares": 1, "new_shares": 4, "load_run_id": _LOAD}
        with engine.begin() as connection:
            connection.execute(text(_LOAD_RUN), {"id": _LOAD, "at": _LONG_AGO, "end": _LONG_AGO + timedelta(days=1)})
            connection.execute(insert(stock_splits).values(symbol=symbol, vendor=teller, ex_date=day, **shares))
        return
    row = {"corporate_action_id": f"split-{symbol}", "symbol": symbol, "kind": "split", "ex_date": day, "raw": {}}
    rates = {"vendor_type": "forward_split", "old_rate": 1, "new_rate": 4, "cash_per_share": 0}
    with engine.begin() as connection:
        connection.execute(insert(corporate_action).values(**row, **rates))


def store_earnings(engine: Engine, symbol: str, first: date, last: date | None = None) -> None:
    """Store a day of earnings, or with a last day the span that it is expected in."""
    days = {"first_day": first, "last_day": last or first, "is_estimate": last is not None}
    with engine.begin() as connection:
        connection.execute(text(_LOAD_RUN), {"id": _LOAD, "at": _LONG_AGO, "end": _LONG_AGO + timedelta(days=1)})
        connection.execute(insert(earnings_dates).values(symbol=symbol, vendor="yahoo", load_run_id=_LOAD, **days))


def trade_row(
    pair: Pair, direction: Direction, slot: datetime, state: PairTradeState = PairTradeState.OPEN
) -> dict[str, object]:
    """Lay out the row of a pair trade of ten shares a leg."""
    return {
        "pair_trade_id": pair_trade_id("twin", pair.id, slot),
        "pair_id": pair.id,
        "symbol_1": pair.symbol_1,
        "symbol_2": pair.symbol_2,
        "beta": pair.beta,
        "direction": direction.value,
        "state": state.value,
        "slot": slot,
        "target_1": Decimal(10 * direction.sign),
        "target_2": Decimal(-10 * direction.sign),
        "version": 1,
    }


_LOAD_RUN = """
    INSERT INTO data_ingestion.load_run
           (load_run_id, vendor, timeframe, symbols, window_start, window_end, state, started_at)
    VALUES (:id, 'alpaca', '1Hour', '{}', :at, :end, 'complete', :at)
        ON CONFLICT DO NOTHING
"""


def store_series(engine: Engine, series: Series, bars: BarColumns) -> None:
    """Store the bars of any series, however little sense they make; what there is of it goes."""
    run = uuid5(_LOAD, str(series))
    load = {"id": run, "vendor": series.vendor, "at": _LONG_AGO, "end": _LONG_AGO + timedelta(days=1)}
    with engine.begin() as connection:
        connection.execute(text(_LOAD_RUN_OF), load)
        connection.execute(delete(market_data).where(*(market_data.c[k] == v for k, v in asdict(series).items())))
        BarTable(connection).put({series: bars}, run)


_LOAD_RUN_OF = _LOAD_RUN.replace("'alpaca'", ":vendor")
