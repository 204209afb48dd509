"""How fast technical indicators of many symbols are brought up to their bars.

The limit is measured in the same run on the same arrays: TA-Lib alone, and a binary COPY of what it gave into the
same table, committed batch by batch. What comes on top is reading bars and finding out what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from sqlalchemy import Engine, text

from benchmarks.rows import Row, median_milliseconds
from benchmarks.scratch import trading_database
from src.config.settings import load_settings
from src.services.analytics.adapters.sql_indicators import SqlIndicatorRepository
from src.services.analytics.bootstrap import build_indicators
from src.services.analytics.domain.indicators import (
    BARS_PER_SESSION,
    SESSIONS_PER_YEAR,
    IndicatorParameters,
    IndicatorRows,
    indicator_set,
    values,
)
from src.services.analytics.use_cases.indicators import Indicators
from src.shared.domain.bars import DAILY, HOURLY, BarKind, StoredBars
from tests.fakes.bar_series import made_up, part
from tests.fakes.stored_market import store_bars

SYMBOLS = 500
YEARS = 2
REPEATS = 3
LIMIT = "TA-Lib alone on the arrays, and a binary COPY of what it gave"
_STORED_AT_ONCE = 50
_STEPS = {DAILY: np.timedelta64(24, "h"), HOURLY: np.timedelta64(5, "h")}

Market = Mapping[str, StoredBars]


def rows() -> list[Row]:
    """Measure on a PostgreSQL of its own."""
    with trading_database() as database:
        return [row for timeframe in (DAILY, HOURLY) for row in measure(database.engine, timeframe)]


def measure(engine: Engine, timeframe: str, symbols: int = SYMBOLS, years: float = YEARS) -> list[Row]:
    """Measure a first run, a run for one new bar of each symbol, and one that finds nothing new.

    `engine` is a migrated trading database without bars of that timeframe; it is filled here.
    """
    kind = BarKind(timeframe, "alpaca", "split")
    count = int(years * SESSIONS_PER_YEAR * BARS_PER_SESSION[timeframe])
    market = {f"S{i:04d}": made_up(count, i, _STEPS[timeframe]) for i in range(symbols)}
    indicators = build_indicators(load_settings(), engine)
    before = _size(engine)
    limit = _seconds(lambda: _bare(engine, replace(kind, vendor="nobody"), market, indicators.batch_symbols))
    bytes_per_row = (_size(engine) - before) / (symbols * count)
    _store(engine, kind, market, slice(-1))
    first = _seconds(lambda: _run(indicators, timeframe, symbols * (count - 1)))
    _store(engine, kind, market, slice(-1, None))
    one_more = _seconds(lambda: _run(indicators, timeframe, symbols))
    nothing = _seconds(lambda: _run(indicators, timeframe, 0), REPEATS)
    name = f"indicators, {symbols} symbols × {count:,} bars of {timeframe}"
    details = {
        "bars/s": symbols * count / first,
        "bars/s at the limit": symbols * count / limit,
        "TA-Lib alone": _seconds(lambda: _compute(market, timeframe)),
        "bytes a row with its index": bytes_per_row,
    }
    return [
        Row(f"{name}, first", first, "s", LIMIT, limit, 2 * limit, details),
        Row(f"{name}, one new bar each", one_more, "s", LIMIT, limit, limit),
        Row(f"{name}, nothing new", nothing, "s", LIMIT, limit, limit),
    ]


def _run(indicators: Indicators, timeframe: str, expected: int) -> None:
    done = [indicators.compute(batch) for batch in indicators.batches([timeframe])]
    assert sum(each.written for each in done) == expected


def _store(engine: Engine, kind: BarKind, market: Market, which: slice) -> None:
    # A few at a time: a statement is bounded in time.
    for begin in range(0, len(market), _STORED_AT_ONCE):
        some = list(market)[begin : begin + _STORED_AT_ONCE]
        store_bars(engine, kind, {name: part(market[name], which) for name in some})


def _bare(engine: Engine, kind: BarKind, market: Market, size: int) -> None:
    names = list(market)
    used = indicator_set(IndicatorParameters(), kind.timeframe)
    for begin in range(0, len(names), size):
        series = {name: market[name] for name in names[begin : begin + size]}
        blocks = [
            IndicatorRows(name, bars.end, bars.recorded_at, values(used, bars)) for name, bars in series.items()
        ]
        with engine.begin() as connection:
            SqlIndicatorRepository(connection).add(kind, used, blocks)


def _compute(market: Market, timeframe: str) -> None:
    used = indicator_set(IndicatorParameters(), timeframe)
    for bars in market.values():
        values(used, bars)


def _size(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(
            connection.execute(text("SELECT pg_total_relation_size('analytics.technical_indicators')")).scalar_one()
        )


def _seconds(work: Callable[[], object], repeats: int = 1) -> float:
    return median_milliseconds(work, repeats) / 1000
