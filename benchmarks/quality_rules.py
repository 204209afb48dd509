"""How long it takes to judge whole series by every rule: alone, and read from and written to the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from benchmarks.rows import Row, median_milliseconds
from benchmarks.scratch import trading_database
from src.config.settings import load_settings
from src.services.data_ingestion.bootstrap import build_quality
from src.services.data_ingestion.domain.rules.judging import QualityLimits, all_rules, judge
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.timetable import Timetable, make_timetable
from src.shared.domain.bars import HOURLY, BarColumns, Series
from src.shared.domain.sessions import TradingCalendar
from tests.fakes.stored_market import store_series
from tests.unit.data_ingestion.series import walk

NOW = datetime(2026, 3, 13, 22, 0, tzinfo=UTC)
YEAR = timedelta(days=364)
SYMBOLS = 580
"""With a year of hours each, a million rows."""

STORED = 50
REPEATS = 3
AIM_MS = 1_000.0
PRICE_CHECK = "the prices' order alone, bar by bar in Python, scaled up"


def rows() -> list[Row]:
    """Measure on a PostgreSQL of its own."""
    with trading_database() as database:
        return measure(database.engine)


def measure(engine: Engine, symbols: int = SYMBOLS, stored: int = STORED) -> list[Row]:
    """Measure so many series of a year of hours. `engine` is a migrated, empty database that is filled here."""
    times = make_timetable(TradingCalendar(), HOURLY, (NOW - YEAR).date(), NOW)
    series = [_series(f"S{number:03d}", number, times) for number in range(symbols)]
    return [_pure(series), _with_database(engine, series[:stored])]


def _pure(series: Sequence[StoredSeries]) -> Row:
    rules = all_rules(QualityLimits())
    count = sum(len(each.bars) for each in series)
    # What a series works out is kept with it: each time is a first time.
    taken = median_milliseconds(lambda: [judge(_anew(each), rules) for each in series], REPEATS)
    loop = median_milliseconds(lambda: _plain(series[0]), REPEATS) * len(series)
    name = f"{len(rules)} rules on {len(series)} series of hours"
    return Row(f"{name}, a million rows", taken / count * 1e6, "ms", PRICE_CHECK, loop / count * 1e6, AIM_MS)


def _with_database(engine: Engine, series: Sequence[StoredSeries]) -> Row:
    for each in series:
        store_series(engine, each.key, each.bars)
    quality = build_quality(load_settings(), engine)
    count = sum(len(each.bars) for each in series)
    first = median_milliseconds(lambda: quality.validate([], NOW), 1)
    again = median_milliseconds(lambda: quality.validate([], NOW), REPEATS)
    name = f"validate, {len(series)} series, {count:,} rows stored, nothing new"
    return Row(name, again, "ms", "the first time, with every verdict to write", first)


def _series(name: str, seed: int, times: Timetable) -> StoredSeries:
    spans = times.starts[: times.finished], times.ends[: times.finished]
    bars = BarColumns(name, *spans, *walk(times.finished, seed))
    return StoredSeries(Series(name, HOURLY, "alpaca", "split"), bars, times)


def _anew(series: StoredSeries) -> StoredSeries:
    return StoredSeries(series.key, series.bars, series.timetable)


def _plain(series: StoredSeries) -> int:
    bars = zip(*(column.tolist() for column in series.bars.columns[2:]), strict=True)
    return sum(0 < low <= min(opened, closed) <= max(opened, closed) <= high for opened, high, low, closed, _ in bars)
