"""Long loads of past bars into real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from src.services.data_ingestion.adapters.history_repository import SqlHistoryRepository
from src.services.data_ingestion.use_cases.history import HistoryLoad
from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.bar_source import FakeBarSource
from tests.fakes.vendor import FakeVendor

CALENDAR = TradingCalendar()
# Half a day of Thanksgiving and the end of daylight saving lie in it.
FIRST = datetime(2025, 9, 1, tzinfo=UTC)
LAST = datetime(2025, 12, 31, 22, tzinfo=UTC)
NOW = datetime(2026, 3, 9, 15, 30, tzinfo=UTC)


@pytest.fixture
def source() -> FakeBarSource:
    made = FakeBarSource()
    for n, symbol in enumerate(("SPY", "QQQ")):
        made.fill(symbol, FIRST - timedelta(days=30), NOW, price=100.0 + 50 * n)
    return made


@pytest.fixture
def history(engine: Engine) -> HistoryLoad:
    return HistoryLoad(SqlUnitOfWork(engine, SqlHistoryRepository), FakeVendor(NOW), CALENDAR)


def select(engine: Engine, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql), values)]


def stored(engine: Engine, symbol: str = "SPY") -> list[tuple[Any, ...]]:
    return select(
        engine,
        "SELECT bar_start, bar_end, open, high, low, close, volume FROM data_ingestion.market_data"
        " WHERE symbol = :symbol ORDER BY timeframe, vendor, adjustment, bar_end",
        symbol=symbol,
    )


def runs(engine: Engine) -> list[tuple[Any, ...]]:
    return select(
        engine,
        "SELECT state, symbols, window_start, window_end, rows_written FROM data_ingestion.load_run"
        " ORDER BY window_start, started_at",
    )


def test_hours_of_every_session_of_the_window_come_in(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    result = history.run(source, ["SPY", "QQQ"], FIRST, LAST)

    spans = CALENDAR.spans_between(FIRST, LAST)
    assert [(row[0], row[1]) for row in stored(engine)] == spans
    assert (result.total("new"), result.total("missing"), result.total("rejected")) == (2 * len(spans), 0, 0)
    assert result.failed == ()


def test_a_day_has_its_sessions_open_and_close_as_its_span(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST, DAILY)

    sessions = CALENDAR.sessions(FIRST.date(), LAST.date())
    assert [(row[0], row[1]) for row in stored(engine)] == [(each.open, each.close) for each in sessions]
    assert datetime(2025, 11, 28, 18, tzinfo=UTC) in {row[1] for row in stored(engine)}


@pytest.mark.parametrize("page", [1000, 97])
def test_a_load_is_stored_by_months_as_they_come(
    history: HistoryLoad, source: FakeBarSource, engine: Engine, page: int
) -> None:
    source.page = page
    history.run(source, ["SPY"], FIRST, LAST)

    windows = [(start, end) for _, _, start, end, _ in runs(engine)]
    assert len(windows) > 1
    assert windows[0][0] == CALENDAR.spans_between(FIRST, LAST)[0][0]
    assert [end for _, end in windows[:-1]] == [start for start, _ in windows[1:]]
    assert all((end.day, end.hour) == (1, 0) for _, end in windows[:-1])
    assert {state for state, *_ in runs(engine)} == {"complete"}
    assert sum(rows for *_, rows in runs(engine)) == len(stored(engine))


def test_what_a_finished_load_has_brought_is_not_asked_for_again(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST)
    source.asked.clear()

    again = history.run(source, ["SPY"], FIRST, LAST)

    assert source.asked == []
    assert again.rows_written == 0


def test_asking_for_everything_again_writes_nothing_that_is_the_same(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST)
    before = select(engine, "SELECT xmin, ctid, tableoid FROM data_ingestion.market_data")

    again = history.run(source, ["SPY"], FIRST, LAST, only_missing=False)

    assert again.total("unchanged") == len(before)
    assert again.rows_written == 0
    assert select(engine, "SELECT xmin, ctid, tableoid FROM data_ingestion.market_data") == before


def test_a_restated_bar_replaces_the_earlier_one_which_is_kept(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST)
    end = CALENDAR.spans_between(FIRST, LAST)[100][1]
    source.change("SPY", "30Min", end - timedelta(minutes=30), volume=1234.0)

    again = history.run(source, ["SPY"], FIRST, LAST, only_missing=False)

    assert (again.total("restated"), again.total("new")) == (1, 0)
    kept = select(engine, "SELECT bar_end, volume, reason FROM data_ingestion.market_data_history")
    assert len(kept) == 1
    assert kept[0][2] == "restated"
    ((now,),) = select(engine, "SELECT volume FROM data_ingestion.market_data WHERE bar_end = :end", end=kept[0][0])
    assert now != kept[0][1]


def test_a_bad_row_is_kept_with_its_reason_once(history: HistoryLoad, source: FakeBarSource, engine: Engine) -> None:
    start, end = CALENDAR.spans_between(FIRST, LAST)[50]
    source.change("SPY", "30Min", start, close=float("nan"))

    for _ in range(2):
        result = history.run(source, ["SPY"], FIRST, LAST, only_missing=False)

    assert (result.total("rejected"), result.total("missing")) == (1, 0)
    rejected = select(engine, "SELECT symbol, bar_end, rule, reason, raw FROM data_ingestion.quarantine")
    assert [row[:4] for row in rejected] == [("SPY", end, "not_finite", "a number is missing or not finite")]
    assert rejected[0][4][0]["close"] == "nan"
    assert end not in {row[1] for row in stored(engine)}


def test_a_symbol_that_breaks_off_does_not_keep_the_others_from_coming(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    source.failures["QQQ"] = Transient("no answer")

    result = history.run(source, ["QQQ", "SPY"], FIRST, LAST)

    assert [(each.symbol, each.failure) for each in result.failed] == [("QQQ", "Transient: no answer")]
    assert len(stored(engine, "SPY")) == len(CALENDAR.spans_between(FIRST, LAST))
    assert ("failed", ["QQQ"]) in [(state, symbols) for state, symbols, *_ in runs(engine)]


@pytest.mark.parametrize("error", [Transient("no answer"), Refused("unknown", "404")])
def test_a_load_of_which_nothing_comes_raises(history: HistoryLoad, source: FakeBarSource, error: Exception) -> None:
    source.failures = {"SPY": error, "QQQ": error}

    with pytest.raises(type(error), match=str(error)):
        history.run(source, ["QQQ", "SPY"], FIRST, LAST)


@pytest.mark.parametrize(
    ("symbols", "start", "end", "timeframe", "adjustment"),
    [
        ([], FIRST, LAST, HOURLY, "split"),
        (["spy"], FIRST, LAST, HOURLY, "split"),
        (["SPY"], LAST, FIRST, HOURLY, "split"),
        (["SPY"], FIRST, FIRST, HOURLY, "split"),
        (["SPY"], NOW + timedelta(hours=1), NOW + timedelta(hours=2), HOURLY, "split"),
        (["SPY"], FIRST, NOW + timedelta(days=30), HOURLY, "split"),
        (["SPY"], FIRST, LAST, "5Min", "split"),
        (["SPY"], FIRST, LAST, HOURLY, "splits"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_before_anything_is_asked_or_written(
    history: HistoryLoad,
    source: FakeBarSource,
    engine: Engine,
    symbols: list[str],
    start: datetime,
    end: datetime,
    timeframe: str,
    adjustment: Any,
) -> None:
    with pytest.raises(InputInvalid) as refused:
        history.run(source, symbols, start, end, timeframe, adjustment)

    assert "\n" not in str(refused.value)
    assert source.asked == []
    assert runs(engine) == []


def test_progress_is_told_of_each_symbol(history: HistoryLoad, source: FakeBarSource) -> None:
    told = []

    history.run(source, ["SPY", "QQQ"], FIRST, LAST, progress=lambda outcome: told.append(outcome.symbol))

    assert sorted(told) == ["QQQ", "SPY"]


def test_a_bar_under_way_is_not_asked_for(history: HistoryLoad, source: FakeBarSource, engine: Engine) -> None:
    result = history.run(source, ["SPY"], NOW - timedelta(days=4), NOW + timedelta(hours=5))

    assert stored(engine)[-1][1] == NOW
    assert result.total("rejected") == 0
    assert np.diff([row[1].timestamp() for row in stored(engine)]).min() > 0
