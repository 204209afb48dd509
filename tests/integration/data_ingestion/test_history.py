"""Long loads of past bars into real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
from tests.fakes.stored_market import store_split
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
    return HistoryLoad(SqlUnitOfWork(engine, SqlHistoryRepository), FakeVendor(NOW), CALENDAR, rows_at_once=1)


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


def everything_on(engine: Engine, factor: float, before: list[tuple[Any, ...]]) -> bool:
    """Say whether every stored price is that many times what it was."""
    after = {row[1]: row for row in stored(engine)}
    return all(after[row[1]][2:6] == pytest.approx([price * factor for price in row[2:6]]) for row in before)


@pytest.mark.parametrize("timeframe", [HOURLY, DAILY])
def test_a_split_since_the_last_load_replaces_the_whole_series_at_once(
    history: HistoryLoad, source: FakeBarSource, engine: Engine, timeframe: str
) -> None:
    history.run(source, ["SPY", "QQQ"], FIRST, LAST, timeframe)
    before = stored(engine)
    source.split("SPY", 4.0)

    result = history.run(source, ["SPY", "QQQ"], LAST, LAST + timedelta(days=14), timeframe)

    assert everything_on(engine, 0.25, before)
    assert {each.symbol: each.rebased for each in result.outcomes} == {"QQQ": None, "SPY": pytest.approx(0.25)}
    kept = select(engine, "SELECT DISTINCT symbol, reason FROM data_ingestion.market_data_history")
    assert kept == [("SPY", "rebased")]
    ((symbol, factor, effective_at),) = select(
        engine, "SELECT symbol, factor, effective_at FROM data_ingestion.series_rebase"
    )
    assert (symbol, factor, effective_at) == ("SPY", pytest.approx(0.25), before[-1][1])
    told = select(engine, "SELECT payload FROM ops.outbox WHERE channel LIKE '%SeriesRebased'")
    assert [row[0]["symbol"] for row in told] == ["SPY"]


def test_a_split_shows_when_bars_before_the_stored_ones_are_loaded(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    middle = FIRST + timedelta(days=60)
    history.run(source, ["SPY"], middle, LAST)
    before = stored(engine)
    source.split("SPY", 4.0)
    source.page = 50

    history.run(source, ["SPY"], FIRST, middle)

    assert everything_on(engine, 0.25, before)
    assert len(stored(engine)) == len(CALENDAR.spans_between(FIRST, LAST))
    assert len(select(engine, "SELECT 1 FROM data_ingestion.series_rebase")) == 1


@pytest.mark.parametrize("teller", ["broker", "polygon"])
def test_a_split_that_the_vendor_adjusts_for_only_later_shows_once_it_does(
    history: HistoryLoad, source: FakeBarSource, engine: Engine, teller: str
) -> None:
    ex_day = CALENDAR.sessions((NOW - timedelta(days=4)).date(), NOW.date())[0]
    history.run(source, ["SPY"], FIRST, NOW - timedelta(hours=1))
    before = [row for row in stored(engine) if row[1] < ex_day.open]
    assert len(stored(engine)) > len(before) + 5
    # Up to the day the history is adjusted; from it on the prices were those of the new shares already.
    source.split("SPY", 4.0, before=ex_day.open)
    store_split(engine, "SPY", ex_day.day, teller)

    result = history.run(source, ["SPY"], FIRST, NOW)

    assert everything_on(engine, 0.25, before)
    assert result.outcomes[0].rebased == pytest.approx(0.25)


def test_a_new_history_that_is_too_short_takes_nobodys_place(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST)
    before = stored(engine)
    source.split("SPY", 4.0)
    rows = source.rows["SPY", "30Min"]
    source.rows["SPY", "30Min"] = rows.take(slice(len(rows) // 3, None))

    with pytest.raises(Transient, match="too short"):
        history.run(source, ["SPY"], LAST, LAST + timedelta(days=14))

    assert stored(engine) == before
    assert select(engine, "SELECT * FROM data_ingestion.series_rebase") == []


def test_bars_of_two_vendors_and_adjustments_are_series_of_their_own(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST)
    other = FakeBarSource(vendor="polygon", rows=dict(source.rows))
    other.split("SPY", 4.0)

    history.run(other, ["SPY"], FIRST, LAST)
    history.run(other, ["SPY"], FIRST, LAST, HOURLY, "raw")

    count = len(CALENDAR.spans_between(FIRST, LAST))
    found = select(
        engine,
        "SELECT vendor, adjustment, count(*) FROM data_ingestion.market_data GROUP BY 1, 2 ORDER BY 1, 2",
    )
    assert found == [("alpaca", "split", count), ("polygon", "raw", count), ("polygon", "split", count)]
    assert select(engine, "SELECT * FROM data_ingestion.series_rebase") == []


def test_two_loads_of_the_same_symbol_at_once_store_each_bar_once(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    source.page = 60
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(history.run, source, ["SPY", "QQQ"], FIRST, LAST) for _ in range(2)]
        results = [each.result() for each in done]

    count = 2 * len(CALENDAR.spans_between(FIRST, LAST))
    assert sum(each.total("new") for each in results) == count
    assert select(engine, "SELECT count(*) FROM data_ingestion.market_data") == [(count,)]
    assert select(engine, "SELECT count(*) FROM data_ingestion.market_data_history") == [(0,)]


def test_a_load_knows_its_client_and_has_a_digest_of_what_it_wrote(
    history: HistoryLoad, source: FakeBarSource, engine: Engine
) -> None:
    history.run(source, ["SPY"], FIRST, LAST)
    history.run(source, ["SPY"], FIRST, LAST, only_missing=False)

    known = select(engine, "SELECT client, rows_written > 0, length(digest) FROM data_ingestion.load_run")
    assert set(known) == {("fake 1.0", True, 32), ("fake 1.0", False, None)}
