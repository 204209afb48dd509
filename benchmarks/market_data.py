"""How long it takes to read closes as one array, and to bring bars in from the vendor."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Engine, select

from benchmarks.rows import Row, median_milliseconds
from benchmarks.scratch import ScratchDatabase, environment, trading_database
from src.config.settings import load_settings
from src.services.data_ingestion.bootstrap import build
from src.services.data_ingestion.domain.grid import HALF_HOURS
from src.services.data_ingestion.domain.loads import ADJUSTMENT
from src.shared.domain.bars import HOURLY, Floats
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.tables import market_data
from tests.fakes.stored_market import store_closes
from tests.fakes.twin_server import running_twin

SYMBOLS = 1000
FEW = 50
BARS = 500
REPEATS = 5
SLOT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
FETCHED = 6
FETCH_SLOT = datetime(2025, 10, 20, 14, 30, tzinfo=UTC)


def rows() -> list[Row]:
    """Measure on a PostgreSQL and a twin of its own."""
    with trading_database() as database:
        fetched = _fetch(database.engine)
        return [_read(database), *fetched]


def _read(database: ScratchDatabase) -> Row:
    engine, names = database.engine, [f"S{i:04d}" for i in range(SYMBOLS)]
    ends = [end for _, end in TradingCalendar().last_spans(SLOT, BARS)]
    store_closes(engine, names, ends, _closes())
    details = {f"{FEW} of the symbols, no statistics": _reading(engine, names[:FEW], ends)}
    details["all, no statistics"] = _reading(engine, names, ends)
    database.analyze()
    value = _reading(engine, names, ends)
    details[f"{FEW} of the symbols"] = _reading(engine, names[:FEW], ends)
    plain = median_milliseconds(lambda: _plain(engine, names, ends), 2)
    name = f"read_closes, {SYMBOLS:,} symbols × {BARS} bars"
    return Row(name, value, "ms", "SELECT into a pandas frame, pivoted", plain, 500.0, details)


def _reading(engine: Engine, names: list[str], ends: list[datetime]) -> float:
    def read() -> None:
        with engine.connect() as connection:
            assert not np.isnan(read_closes(connection, names, ends).closes).any()

    return median_milliseconds(read, REPEATS)


def _plain(engine: Engine, names: list[str], ends: list[datetime]) -> None:
    wanted = select(market_data.c.symbol, market_data.c.bar_end, market_data.c.close).where(
        market_data.c.symbol.in_(names), market_data.c.timeframe == HOURLY, market_data.c.bar_end.in_(ends)
    )
    with engine.connect() as connection:
        frame = pd.read_sql(wanted, connection).pivot_table(index="bar_end", columns="symbol", values="close")
    assert frame.shape == (BARS, len(names))


def _closes() -> Floats:
    steps = np.random.default_rng(7).normal(0, 0.005, (BARS, SYMBOLS))
    closes: Floats = 80.0 * np.exp(steps.cumsum(axis=0))
    return closes


def _fetch(engine: Engine) -> list[Row]:
    with running_twin(clock=(FETCH_SLOT + timedelta(seconds=5)).isoformat()) as twin:
        urls = {"TRADEWINDS_ALPACA_BASE_URL": twin.url, "TRADEWINDS_ALPACA_DATA_URL": twin.url}
        with environment({**os.environ, **urls, "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": "10000"}):
            settings = load_settings()
        client = make_alpaca_client(settings)
        ingestion = build(settings, engine, client)
        symbols = twin.admin.get("market")["symbols"][:FETCHED]
        spans = ingestion.calendar.last_spans(FETCH_SLOT, BARS)
        client.clock()
        alone = median_milliseconds(lambda: client.bars(symbols, spans[0][0], FETCH_SLOT, HALF_HOURS, ADJUSTMENT), 3)
        first = median_milliseconds(lambda: ingestion.fetch_bars(symbols, FETCH_SLOT, BARS), 1)
        steady = median_milliseconds(lambda: ingestion.fetch_bars(symbols, FETCH_SLOT, BARS), REPEATS)
    name = f"fetch_bars, {len(symbols)} symbols × {BARS} bars"
    return [
        Row(f"{name}, first load", first, "ms", "the vendor's answer alone", alone, 5_000.0),
        Row(f"{name}, nothing new", steady, "ms", "the vendor's answer alone", alone, 100.0),
    ]
