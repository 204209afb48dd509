"""Series of bars that are sound, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from functools import cache

import numpy as np

from src.services.data_ingestion.domain.rules.judging import QualityLimits, all_rules, judge
from src.services.data_ingestion.domain.rules.series import StoredSeries
from src.services.data_ingestion.domain.rules.timetable import Timetable, make_timetable
from src.services.data_ingestion.domain.rules.verdict import Verdict
from src.shared.domain.bars import HOURLY, BarColumns, Floats, Series
from src.shared.domain.sessions import TradingCalendar

CALENDAR = TradingCalendar()
FIRST = date(2025, 9, 2)
NOW = datetime(2026, 3, 13, 22, 0, tzinfo=UTC)
"""Half a year with both changes of the clocks (November 2, March 8) and two half days (November 28, December 24)."""

RULES = all_rules(QualityLimits())


@cache
def timetable(timeframe: str = HOURLY, first: date = FIRST, now: datetime = NOW) -> Timetable:
    return make_timetable(CALENDAR, timeframe, first, now)


def sound_series(
    timeframe: str = HOURLY, seed: int = 7, adjustment: str = "split", times: Timetable | None = None
) -> StoredSeries:
    """A random walk on every finished bar of the timetable."""
    times = times or timetable(timeframe)
    bars = walk(times.finished, seed)
    spans = times.starts[: times.finished], times.ends[: times.finished]
    return StoredSeries(Series("KO", timeframe, "alpaca", adjustment), BarColumns("KO", *spans, *bars), times)


def walk(count: int, seed: int) -> tuple[Floats, ...]:
    """Prices that move a little in each bar, and volumes that differ."""
    random = np.random.default_rng(seed)
    close = 60 * np.exp(np.clip(random.normal(0, 0.004, count), -0.02, 0.02).cumsum())
    open_ = np.concatenate([close[:1], close[:-1]]) * (1 + random.uniform(-0.001, 0.001, count))
    high = np.maximum(open_, close) * (1 + random.uniform(0.0001, 0.002, count))
    low = np.minimum(open_, close) * (1 - random.uniform(0.0001, 0.002, count))
    return open_, high, low, close, random.integers(10_000, 50_000, count).astype(np.float64)


def spoilt(series: StoredSeries, places: Sequence[int] | slice, **columns: object) -> StoredSeries:
    """Give some bars other values in some columns."""
    changed = {}
    for name, values in columns.items():
        column = getattr(series.bars, name).copy()
        column[places] = values
        changed[name] = column
    return of(series, replace(series.bars, **changed))


def scaled(series: StoredSeries, places: slice, factor: float) -> StoredSeries:
    """Put the prices of some bars on another basis."""
    prices = ("open", "high", "low", "close")
    return spoilt(series, places, **{name: getattr(series.bars, name)[places] * factor for name in prices})


def without(series: StoredSeries, places: slice) -> StoredSeries:
    """Lose some bars."""
    kept = np.ones(len(series.bars), dtype=bool)
    kept[places] = False
    return of(series, series.bars.take(kept))


def of(series: StoredSeries, bars: BarColumns) -> StoredSeries:
    """The same series with other bars; nothing that was worked out from the old ones is kept."""
    return StoredSeries(**{each.name: getattr(series, each.name) for each in fields(series)} | {"bars": bars})


def verdicts(series: StoredSeries) -> dict[str, Verdict]:
    return {verdict.rule: verdict for verdict in judge(series, RULES)}


def broken(series: StoredSeries) -> set[str]:
    """Name the rules that a series breaks."""
    return {name for name, verdict in verdicts(series).items() if not verdict.passed}


def place_of(series: StoredSeries, day: date) -> int:
    """Find the first bar of a day."""
    return int(np.searchsorted(series.bars.end, np.datetime64(day, "us")))
