"""How fast past bars come in: judged and stored for the first time, and again unchanged, against a bare COPY.

The bare COPY is one binary stream of columns that are ready, into the same table with its partitions, index and
checks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine, insert

from benchmarks.rows import Row
from benchmarks.scratch import ScratchDatabase, environment, trading_database
from src.config.settings import load_settings
from src.services.data_ingestion.adapters.alpaca_history import AlpacaHistory
from src.services.data_ingestion.adapters.binary_rows import COLUMNS, TABLE, copy_block
from src.services.data_ingestion.bootstrap import OLDEST, build_history
from src.services.data_ingestion.domain.grid import HALF_HOURS, Grid, make_grid
from src.services.data_ingestion.domain.history import HistoryResult, Piece, Window, judge_piece
from src.services.data_ingestion.use_cases.history import SPIKE_RATIO, HistoryLoad
from src.shared.domain.bars import HOURLY, BarColumns, Series, as_moments
from src.shared.domain.orders import MarketClock
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.vendor_data import VendorBars
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.binary_copy import copy_into
from src.shared.infra.database.tables import load_run
from src.shared.infra.embedded.postgres import TRADING_DATABASE
from src.shared.ports.market_data import Adjustment
from tests.fakes.twin_server import TwinHandle, running_twin

FIRST, LAST = datetime(2019, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, 22, tzinfo=UTC)
SYMBOLS = 12
REPEATS = 3
SHARE = 0.75
"""A load must reach this part of the speed of a bare COPY."""

VALIDATED_AT_LEAST = 1e6
GROWTH = 1.15
TEN_TIMES = 10
TWIN_NOW = datetime(2025, 12, 31, 22, tzinfo=UTC)
TWO_YEARS = timedelta(days=2 * 365)
TWIN_SYMBOLS = 500

_HALF = np.timedelta64(30, "m")
_PAGE = 10_000


@dataclass
class MemorySource:
    """A vendor whose rows are there already: half hours of sessions, in pages."""

    rows: Mapping[str, VendorBars]
    vendor: str = "alpaca"
    client: str = "memory"
    made_from: Mapping[str, str] = field(default_factory=lambda: {HOURLY: HALF_HOURS})

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Hand out pages."""
        if (timeframe, adjustment) != (HALF_HOURS, "split"):
            raise ValueError("there are half hours adjusted for splits alone")
        first, after = np.searchsorted(self.rows[symbol].start, as_moments([start, end]))
        for n in range(first, after, _PAGE):
            yield self.rows[symbol].take(slice(n, min(n + _PAGE, after)))


class FixedClock:
    """The market's time, standing still after the last bar."""

    def clock(self) -> MarketClock:
        """Tell the time."""
        now = LAST + timedelta(hours=1)
        return MarketClock(now, is_open=False, next_open=now + timedelta(days=1), next_close=now + timedelta(days=1))


def rows() -> list[Row]:
    """Measure on a PostgreSQL of its own, and memory in processes of their own."""
    grid = make_grid(TradingCalendar(first=OLDEST), HOURLY, FIRST, LAST)
    source = MemorySource({f"S{n:03d}": half_hours(f"S{n:03d}", grid, n) for n in range(SYMBOLS)})
    with trading_database() as database:
        stored = _stored(database, source, grid)
    return [_validation(source, grid), *stored, _memory(), _from_the_twin()]


def half_hours(symbol: str, grid: Grid, seed: int) -> VendorBars:
    """Make the half hours of the hours of a grid, with a price that wanders."""
    starts = np.concatenate((grid.start, grid.start[grid.end - grid.start > _HALF] + _HALF))
    starts.sort()
    closes = 80.0 * np.exp(np.random.default_rng(seed).normal(0, 0.002, len(starts)).cumsum())
    return VendorBars(symbol, starts, closes, closes * 1.001, closes * 0.999, closes, np.full(len(starts), 1000.0))


def _validation(source: MemorySource, grid: Grid) -> Row:
    windows = [(Window(_series(symbol), grid), rows) for symbol, rows in source.rows.items()]

    def judge() -> None:
        for window, rows in windows:
            piece = Piece(rows, grid.start[0], grid.end[-1])
            assert len(judge_piece(piece, window, HALF_HOURS, LAST, SPIKE_RATIO).accepted) == len(grid)

    count = sum(len(rows) for rows in source.rows.values())
    value = _seconds(judge, lambda: None) / count * 1e6
    details = {"million rows a second": 1 / value}
    return Row(
        "judge half hours and make hours of them", value, "µs a row", "", None, 1e6 / VALIDATED_AT_LEAST, details
    )


def _stored(database: ScratchDatabase, source: MemorySource, grid: Grid) -> list[Row]:
    load, count = _history(database.engine), len(grid) * len(source.rows)
    limit = _copy_limit(database, source, grid) / count * 1e6

    def run(only_missing: bool) -> HistoryResult:
        result = load.run(source, list(source.rows), FIRST, LAST, only_missing=only_missing)
        assert result.total("new") + result.total("unchanged") == count
        return result

    first = _seconds(lambda: run(only_missing=True), lambda: _empty(database)) / count * 1e6
    again = _seconds(lambda: run(only_missing=False), lambda: None) / count * 1e6
    what = f"{SYMBOLS} symbols × {len(grid):,} hours"
    details = {"thousand rows a second": 1e3 / limit}
    aim = limit / SHARE
    return [
        Row(f"binary COPY, {what}", limit, "µs a bar", details=details),
        Row(f"first load, {what}", first, "µs a bar", "binary COPY", limit, aim, {"share": limit / first}),
        Row("load again, nothing new", again, "µs a bar", "binary COPY", limit, aim, {"share": limit / again}),
    ]


def _copy_limit(database: ScratchDatabase, source: MemorySource, grid: Grid) -> float:
    run_id, now = UUID(int=1), datetime.now(UTC)
    bars = {symbol: _hours(rows, grid) for symbol, rows in source.rows.items()}
    with database.engine.begin() as connection:
        add_months(connection, FIRST, LAST)
    ready = [copy_block(_series(symbol), columns, run_id, now) for symbol, columns in bars.items()]

    def copy() -> None:
        with database.engine.begin() as connection:
            copy_into(connection, TABLE, COLUMNS, ready)

    return _seconds(copy, lambda: _empty(database))


def _hours(rows: VendorBars, grid: Grid) -> BarColumns:
    piece = Piece(rows, grid.start[0], grid.end[-1])
    return judge_piece(piece, Window(_series(rows.symbol), grid), HALF_HOURS, LAST, SPIKE_RATIO).accepted


def _memory() -> Row:
    one, ten = _peak_mebibytes(SYMBOLS), _peak_mebibytes(TEN_TIMES * SYMBOLS)
    name = f"peak memory of a load of {TEN_TIMES} times {SYMBOLS} symbols"
    return Row(name, ten, "MiB", f"of {SYMBOLS} symbols", one, one * GROWTH)


def _peak_mebibytes(symbols: int) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.history_memory", str(symbols)],
        capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    return float(done.stdout)


def _from_the_twin() -> Row:
    """Load two years of hours from a vendor over HTTP, and say where the time goes."""
    window = TWIN_NOW - TWO_YEARS, TWIN_NOW
    grid = make_grid(TradingCalendar(first=OLDEST), HOURLY, *window)
    with TemporaryDirectory() as folder, trading_database() as database, _twin(Path(folder), grid) as twin:
        urls = {"TRADEWINDS_ALPACA_BASE_URL": twin.url, "TRADEWINDS_ALPACA_DATA_URL": twin.url}
        with environment({**urls, "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": "10000"}):
            client = make_alpaca_client(load_settings())
        symbols = twin.admin.get("market")["symbols"]
        timed = TimedSource(AlpacaHistory(client))
        load = build_history(database.engine, client)
        start = time.perf_counter()
        result = load.run(timed, symbols, *window, workers=1)
        total = time.perf_counter() - start
    judging = sum(_judging_seconds(rows, grid) for rows in timed.taken)
    details = {
        "seconds of the vendor": timed.seconds,
        "of validation": judging,
        "of storage": total - timed.seconds - judging,
        "bars": float(result.total("new")),
    }
    name = f"{len(symbols)} symbols × 2 years of hours, vendor to table"
    return Row(name, total, "s", details=details)


@contextmanager
def _twin(folder: Path, grid: Grid) -> Iterator[TwinHandle]:
    """Serve a market of as many symbols as are wanted, from a file."""
    file = folder / "bars.parquet"
    prices = [
        50.0 * np.exp(np.random.default_rng(seed).normal(0, 0.003, len(grid)).cumsum())
        for seed in range(TWIN_SYMBOLS)
    ]
    close = np.concatenate(prices)
    columns = {"open": close, "high": close * 1.002, "low": close * 0.998, "close": close}
    table = pa.table(
        {
            "symbol": np.repeat([f"T{n:03d}" for n in range(TWIN_SYMBOLS)], len(grid)),
            "timestamp": pa.array(np.tile(grid.start, TWIN_SYMBOLS), pa.timestamp("us", tz="UTC")),
            **columns,
            "volume": np.full(len(close), 1000.0),
        }
    )
    pq.write_table(table, file)
    with running_twin(clock=TWIN_NOW.isoformat(), bars=file) as twin:
        yield twin


class TimedSource:
    """A source that notes how long its answers take, and keeps them."""

    def __init__(self, source: AlpacaHistory) -> None:
        self._source = source
        self.vendor, self.client, self.made_from = source.vendor, source.client, source.made_from
        self.seconds = 0.0
        self.taken: list[VendorBars] = []

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Pass on what the source gives."""
        began = time.perf_counter()
        pages = list(self._source.history(symbol, start, end, timeframe, adjustment))
        self.seconds += time.perf_counter() - began
        self.taken.append(VendorBars.joined(symbol, pages))
        yield from pages


def _judging_seconds(rows: VendorBars, grid: Grid) -> float:
    window, piece = Window(_series(rows.symbol), grid), Piece(rows, grid.start[0], grid.end[-1])
    start = time.perf_counter()
    judge_piece(piece, window, HALF_HOURS, TWIN_NOW, SPIKE_RATIO)
    return time.perf_counter() - start


def _history(engine: Engine) -> HistoryLoad:
    return build_history(engine, FixedClock())


def _series(symbol: str) -> Series:
    return Series(symbol, HOURLY, "alpaca", "split")


def _empty(database: ScratchDatabase) -> None:
    with database.server.connect(TRADING_DATABASE) as connection:
        connection.execute("TRUNCATE data_ingestion.market_data, data_ingestion.load_run, ops.outbox CASCADE")
    with database.engine.begin() as connection:
        window = {"window_start": FIRST, "window_end": LAST, "started_at": FIRST, "symbols": []}
        connection.execute(
            insert(load_run).values(
                load_run_id=UUID(int=1), vendor="alpaca", timeframe=HOURLY, state="complete", **window
            )
        )


def _seconds(work: Callable[[], object], before: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        before()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)
