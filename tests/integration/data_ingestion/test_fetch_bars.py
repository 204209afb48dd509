"""Bars from a vendor into real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from src.services.data_ingestion.adapters.repository import SqlMarketRepository
from src.services.data_ingestion.domain.plan import REASKED_BARS
from src.services.data_ingestion.use_cases.ingestion import DataIngestion
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.domain.orders import AssetReport
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.closes import read_closes
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes.stored_market import store_split
from tests.fakes.vendor import HALF, FakeVendor

CALENDAR = TradingCalendar()
# The Monday after daylight saving began; the window reaches back over it.
SLOT = datetime(2026, 3, 9, 15, 30, tzinfo=UTC)
NEXT_SLOT = SLOT + timedelta(hours=1)
HOUR = timedelta(hours=1)
BARS = 30


@pytest.fixture
def vendor() -> FakeVendor:
    made = FakeVendor(now=SLOT + timedelta(seconds=5))
    made.fill(["QQQ", "SPY"], SLOT - timedelta(days=20), SLOT + timedelta(days=4), CALENDAR)
    return made


@pytest.fixture
def ingestion(engine: Engine, vendor: FakeVendor) -> DataIngestion:
    return DataIngestion(SqlUnitOfWork(engine, SqlMarketRepository), vendor, vendor, vendor, CALENDAR)


def select(engine: Engine, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql), values)]


def runs(engine: Engine) -> list[tuple[Any, ...]]:
    return select(
        engine,
        "SELECT state, rows_written, rows_rejected, rows_missing FROM data_ingestion.load_run ORDER BY started_at",
    )


def ends(count: int = BARS, slot: datetime = SLOT) -> list[datetime]:
    return [end for _, end in CALENDAR.last_spans(slot, count)]


def test_a_first_load_stores_the_whole_window_aligned_with_the_session(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    result = ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)

    assert (result.rows_written, result.rows_rejected, result.rows_missing) == (2 * BARS, 0, 0)
    assert result.complete
    assert runs(engine) == [("complete", 2 * BARS, 0, 0)]
    stored = select(engine, "SELECT bar_end FROM data_ingestion.market_data WHERE symbol = 'SPY' ORDER BY bar_end")
    assert [row[0] for row in stored] == ends()
    assert select(engine, "SELECT DISTINCT timeframe, vendor, adjustment FROM data_ingestion.market_data") == [
        ("1Hour", "alpaca", "split")
    ]
    last = select(
        engine,
        "SELECT close, volume FROM data_ingestion.market_data WHERE symbol='SPY' ORDER BY bar_end DESC LIMIT 1",
    )
    assert last == [(vendor.rows["SPY", SLOT - HALF].close, 2000.0)]


def test_a_load_and_its_event_are_one_transaction(ingestion: DataIngestion, engine: Engine) -> None:
    result = ingestion.fetch_bars(["SPY"], SLOT, BARS)

    ((channel, correlation, payload),) = select(engine, "SELECT channel, correlation_id, payload FROM ops.outbox")
    assert channel == "tradewinds.market_data.MarketDataStored"
    assert correlation == "2026-03-09T15:30Z"
    assert payload["aggregate_id"] == str(result.load_run_id)
    assert (payload["rows"], payload["complete"]) == (BARS, True)


def test_a_complete_slot_asks_the_vendor_for_nothing_and_is_seen_as_a_second_load(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    first = ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)
    vendor.asked.clear()

    second = ingestion.fetch_bars(["QQQ", "SPY"], SLOT, BARS)

    assert vendor.asked == []
    assert second.complete
    assert second.rows_written == 0
    assert second.load_run_id != first.load_run_id
    assert len(runs(engine)) == 2
    assert len(select(engine, "SELECT 1 FROM ops.outbox")) == 1


def test_the_next_slot_takes_one_request_for_all_symbols_and_only_the_new_hour(
    ingestion: DataIngestion, vendor: FakeVendor
) -> None:
    ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)
    vendor.asked.clear()
    vendor.now = NEXT_SLOT

    result = ingestion.fetch_bars(["SPY", "QQQ"], NEXT_SLOT, BARS)

    # The stored hour before is asked for again, so that a changed price basis shows.
    assert vendor.asked == [(("QQQ", "SPY"), SLOT - HOUR, NEXT_SLOT)]
    assert result.rows_written == 2
    assert result.complete


def test_bad_bars_are_rejected_with_a_reason_and_the_rest_is_stored(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    vendor.spoil("SPY", SLOT - HALF, close=float("nan"))
    vendor.spoil("SPY", SLOT - HOUR - HALF, high=5000.0)

    result = ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)

    assert (result.rows_written, result.rows_rejected, result.rows_missing) == (2 * BARS - 2, 2, 0)
    assert not result.complete
    assert runs(engine) == [("partial", 2 * BARS - 2, 2, 0)]
    assert any("SPY 2026-03-09 15:30Z: a number is missing or not finite" in line for line in result.problems)
    assert any("SPY 2026-03-09 14:30Z: spike" in line for line in result.problems)


def test_an_hour_that_lacks_a_half_is_not_stored_and_comes_in_later(
    ingestion: DataIngestion, vendor: FakeVendor, engine: Engine
) -> None:
    late = vendor.rows["SPY", SLOT - HALF]
    vendor.lose("SPY", SLOT - HALF)
    first = ingestion.fetch_bars(["SPY"], SLOT, BARS)
    vendor.rows["SPY", SLOT - HALF] = late

    second = ingestion.fetch_bars(["SPY"], SLOT, BARS)

    assert (first.rows_written, first.complete) == (BARS - 1, False)
    assert (second.rows_written, second.complete) == (1, True)


def test_a_recent_gap_is_asked_for_again_but_an_old_one_is_not(ingestion: DataIngestion, vendor: FakeVendor) -> None:
    old = ends()[3]
    vendor.lose("SPY", old - HALF)
    ingestion.fetch_bars(["SPY"], SLOT, BARS)
    vendor.asked.clear()

    again = ingestion.fetch_bars(["SPY"], SLOT, BARS)
    assert vendor.asked == []
    assert not again.complete
    longer = ingestion.fetch_bars(["SPY"], SLOT, BARS + 5)

    assert (longer.rows_written, len(vendor.asked)) == (5, 1)
    assert longer.rows_rejected == 0


def test_a_gap_becomes_old_after_two_days_of_session_time(ingestion: DataIngestion, vendor: FakeVendor) -> None:
    vendor.lose("SPY", SLOT - HALF)
    ingestion.fetch_bars(["SPY"], SLOT, BARS)
    later = CALENDAR.slots_between(SLOT, SLOT + timedelta(days=10))
    asked_for_the_gap = []
    for slot in later[1 : REASKED_BARS + 3]:
        vendor.now, vendor.asked = slot, []
        ingestion.fetch_bars(["SPY"], slot, BARS)
        asked_for_the_gap.append(vendor.asked[0][1] < SLOT)

    assert asked_for_the_gap == [True] * (REASKED_BARS - 1) + [False] * 3


def test_a_failed_load_is_recorded_keeps_what_had_come_and_goes_on_from_there(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    ingestion.fetch_bars(["QQQ"], SLOT - HOUR, BARS)
    vendor.asked.clear()
    vendor.failure, vendor.failing_from = Transient("no answer"), 2

    with pytest.raises(Transient):
        ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)
    vendor.failure = None
    result = ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)

    states = [run[0] for run in runs(engine)]
    assert states == ["complete", "failed", "complete"]
    assert result.complete
    (problems,) = select(engine, "SELECT problems FROM data_ingestion.load_run WHERE state = 'failed'")
    assert problems[0][0] == "Transient: no answer"


def test_a_split_replaces_the_history_instead_of_mixing_two_price_bases(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)
    vendor.split("SPY", 4.0)
    vendor.now = NEXT_SLOT

    result = ingestion.fetch_bars(["SPY", "QQQ"], NEXT_SLOT, BARS)

    with engine.connect() as connection:
        closes = read_closes(connection, ["SPY"], ends(slot=NEXT_SLOT)).column("SPY")
    assert np.nanmax(closes) < 30
    assert not np.isnan(closes).any()
    assert any("price basis changed by a factor of 0.25" in line for line in result.problems)
    # All that is stored of SPY, the bar before the window included, and a new bar of each.
    assert result.rows_written == BARS + 2
    assert select(
        engine, "SELECT count(*), min(close) > 90, min(reason) FROM data_ingestion.market_data_history"
    ) == [(BARS, True, "rebased")]
    noted = select(engine, "SELECT symbol, factor, effective_at FROM data_ingestion.series_rebase")
    assert noted == [("SPY", 0.25, SLOT)]
    told = select(engine, "SELECT payload FROM ops.outbox WHERE channel LIKE '%SeriesRebased'")
    assert [(row[0]["symbol"], row[0]["factor"]) for row in told] == [("SPY", 0.25)]


def test_a_split_that_the_vendor_adjusts_for_only_later_shows_in_the_next_hour(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    # The price falls on the morning of the split; what was before it is adjusted an hour later.
    morning = CALENDAR.sessions(SLOT.date(), SLOT.date())[0].open
    vendor.split("SPY", 4.0)
    vendor.split("SPY", 0.25, before=morning)
    store_split(engine, "SPY", SLOT.date())
    ingestion.fetch_bars(["SPY"], SLOT, BARS)
    vendor.split("SPY", 4.0, before=morning)
    vendor.now = NEXT_SLOT

    ingestion.fetch_bars(["SPY"], NEXT_SLOT, BARS)

    assert select(engine, "SELECT max(close) < 40 FROM data_ingestion.market_data WHERE symbol = 'SPY'") == [(True,)]
    assert select(engine, "SELECT symbol, factor FROM data_ingestion.series_rebase") == [("SPY", 0.25)]


def test_a_close_that_was_restated_alone_is_no_other_basis(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    ingestion.fetch_bars(["SPY"], SLOT, BARS)
    vendor.spoil("SPY", SLOT - HALF, close=vendor.rows["SPY", SLOT - HALF].close * 1.01, high=200.0)
    vendor.now = NEXT_SLOT

    ingestion.fetch_bars(["SPY"], NEXT_SLOT, BARS)

    kept = select(engine, "SELECT bar_end, reason FROM data_ingestion.market_data_history")
    assert kept == [(SLOT, "restated")]
    assert select(engine, "SELECT * FROM data_ingestion.series_rebase") == []


def test_a_bad_row_of_the_hourly_cycle_is_kept_with_its_reason(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    vendor.spoil("SPY", SLOT - HALF, close=float("nan"))

    for _ in range(2):
        ingestion.fetch_bars(["SPY"], SLOT, BARS)

    rejected = select(engine, "SELECT symbol, bar_end, rule, vendor, timeframe FROM data_ingestion.quarantine")
    assert rejected == [("SPY", SLOT, "not_finite", "alpaca", "1Hour")]


def test_a_new_history_that_is_too_short_does_not_replace_the_old(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    ingestion.fetch_bars(["SPY"], SLOT, BARS)
    vendor.split("SPY", 4.0)
    for symbol, start in list(vendor.rows):
        if start < SLOT - HOUR:
            vendor.lose(symbol, start)
    vendor.now = NEXT_SLOT

    result = ingestion.fetch_bars(["SPY"], NEXT_SLOT, BARS)

    assert not result.complete
    assert select(engine, "SELECT count(*), min(close) > 90 FROM data_ingestion.market_data") == [(BARS, True)]


@pytest.mark.parametrize("slot", [SLOT - timedelta(minutes=30), SLOT + timedelta(days=5, hours=-10)])
def test_what_is_not_a_slot_is_refused(ingestion: DataIngestion, engine: Engine, slot: datetime) -> None:
    with pytest.raises(InputInvalid):
        ingestion.fetch_bars(["SPY"], slot, BARS)

    assert runs(engine) == []


def test_a_slot_that_has_not_ended_by_the_brokers_clock_is_refused(ingestion: DataIngestion, engine: Engine) -> None:
    with pytest.raises(InputInvalid, match="has not ended"):
        ingestion.fetch_bars(["SPY"], NEXT_SLOT, BARS)

    assert select(engine, "SELECT count(*) FROM data_ingestion.market_data") == [(0,)]


def test_symbols_are_refreshed_from_the_brokers_assets(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    vendor.known["SPY"] = AssetReport("SPY", "SPDR", "ARCA", True, True, True)
    ingestion.refresh_symbols(["SPY", "NOPE"])
    vendor.known["SPY"] = AssetReport("SPY", "SPDR", "ARCA", True, False, False)

    assert ingestion.refresh_symbols(["SPY", "NOPE"]) == 1

    rows = select(
        engine, "SELECT symbol, name, exchange, tradable, shortable, easy_to_borrow FROM data_ingestion.symbol"
    )
    assert rows == [("SPY", "SPDR", "ARCA", True, False, False)]


def test_a_symbol_that_the_broker_lists_no_longer_as_active_is_inactive_until_it_is_again(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    def refreshed() -> list[tuple[Any, ...]]:
        ingestion.refresh_symbols(["QQQ", "SPY", "XLK"])
        return select(engine, "SELECT symbol, status, status_reason FROM data_ingestion.symbol ORDER BY symbol")

    for name in ("QQQ", "SPY", "XLK"):
        vendor.known[name] = AssetReport(name, name, "ARCA", True, True, True)
    assert {status for _, status, _ in refreshed()} == {"active"}
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE data_ingestion.symbol SET status = 'delisted', status_reason = 'polygon: delisted'"
                " WHERE symbol = 'XLK'"
            )
        )

    vendor.known["SPY"] = AssetReport("SPY", "SPY", "ARCA", False, False, False, active=False)
    del vendor.known["QQQ"]
    gone = refreshed()
    vendor.known["SPY"] = AssetReport("SPY", "SPY", "ARCA", True, True, True)
    back = refreshed()

    said = ("XLK", "delisted", "polygon: delisted")
    assert gone == [("QQQ", "inactive", "broker: not listed"), ("SPY", "inactive", "broker: not active"), said]
    assert back == [("QQQ", "inactive", "broker: not listed"), ("SPY", "active", ""), said]


def test_closes_come_back_on_the_grid_with_nan_where_there_is_no_bar(
    ingestion: DataIngestion, engine: Engine, vendor: FakeVendor
) -> None:
    grid = ends()
    vendor.lose("QQQ", grid[-1] - HALF)
    ingestion.fetch_bars(["SPY", "QQQ"], SLOT, BARS)

    with engine.connect() as connection:
        series = read_closes(connection, ["XLK", "SPY", "QQQ"], grid)

    assert series.closes.shape == (BARS, 3)
    assert np.isnan(series.column("XLK")).all()
    assert series.column("SPY")[-1] == vendor.rows["SPY", SLOT - HALF].close
    assert np.isnan(series.column("QQQ")[-1])
    assert not np.isnan(series.column("QQQ")[:-1]).any()
    assert series.ends == tuple(grid)
