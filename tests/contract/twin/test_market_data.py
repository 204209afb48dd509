from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.fakes.twin_server import TwinHandle

HALF_HOUR = TimeFrame(30, TimeFrameUnit.Minute)
HOUR = TimeFrame(1, TimeFrameUnit.Hour)
DAY = TimeFrame(1, TimeFrameUnit.Day)
FRIDAY = datetime(2025, 2, 28, tzinfo=UTC)
KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


def bars_of(data: StockHistoricalDataClient, symbols: list[str], frame: TimeFrame, **more: Any) -> dict[str, Any]:
    more.setdefault("start", FRIDAY)
    answer: Any = data.get_stock_bars(StockBarsRequest(symbol_or_symbols=symbols, timeframe=frame, **more))
    return dict(answer.data)


def times(bars: list[Any]) -> list[str]:
    return [bar.timestamp.isoformat()[:16] for bar in bars]


def test_only_finished_bars_are_served(data: StockHistoricalDataClient, twin: TwinHandle) -> None:
    before = times(bars_of(data, ["KELV"], HALF_HOUR)["KELV"])
    twin.admin.move_clock("2025-03-03T15:59:59Z")
    still = times(bars_of(data, ["KELV"], HALF_HOUR)["KELV"])
    twin.admin.move_clock("2025-03-03T16:00:00Z")
    after = times(bars_of(data, ["KELV"], HALF_HOUR)["KELV"])

    assert len(before) == 13 + 2
    assert before[-1] == "2025-03-03T15:00"
    assert still == before
    assert after == [*before, "2025-03-03T15:30"]


def test_hours_follow_the_clock_and_days_start_at_midnight_in_new_york(data: StockHistoricalDataClient) -> None:
    hours = bars_of(data, ["KELV"], HOUR, end=FRIDAY + timedelta(days=1))["KELV"]
    days = bars_of(data, ["KELV"], DAY, start=FRIDAY - timedelta(days=1))["KELV"]
    halves = bars_of(data, ["KELV"], HALF_HOUR, end=FRIDAY + timedelta(days=1))["KELV"]

    assert times(hours) == [f"2025-02-28T{hour}:00" for hour in range(14, 21)]
    assert times(days) == ["2025-02-27T05:00", "2025-02-28T05:00"]
    friday = days[-1]
    assert (friday.open, friday.close) == (halves[0].open, halves[-1].close)
    assert (friday.high, friday.low) == (max(b.high for b in halves), min(b.low for b in halves))
    assert friday.volume == sum(b.volume for b in halves) == sum(b.volume for b in hours)
    assert (hours[1].open, hours[1].close) == (halves[1].open, halves[2].close)


def test_the_limit_counts_all_symbols_together_and_pages_go_on(
    data: StockHistoricalDataClient, twin: TwinHandle
) -> None:
    whole = bars_of(data, ["KYLO", "KELV"], HALF_HOUR)
    limited = bars_of(data, ["KYLO", "KELV"], HALF_HOUR, limit=20)

    seen: list[tuple[str, str]] = []
    token, pages = None, 0
    while token or not pages:
        terms: dict[str, str | int] = {
            "symbols": "KYLO,KELV",
            "timeframe": "30Min",
            "start": "2025-02-28",
            "limit": 7,
        }
        answer = httpx.get(
            f"{twin.url}/v2/stocks/bars", params=terms | ({"page_token": token} if token else {}), headers=KEYS
        ).json()
        seen += [(symbol, bar["t"]) for symbol, bars in answer["bars"].items() for bar in bars]
        token, pages = answer["next_page_token"], pages + 1

    assert {symbol: len(bars) for symbol, bars in whole.items()} == {"KELV": 15, "KYLO": 15}
    assert {symbol: len(bars) for symbol, bars in limited.items()} == {"KELV": 15, "KYLO": 5}
    assert (len(seen), len(set(seen)), pages) == (30, 30, 5)


def test_the_newest_bars_come_first_when_asked(data: StockHistoricalDataClient) -> None:
    newest = bars_of(data, ["KELV"], HALF_HOUR, limit=2, sort=Sort.DESC)["KELV"]

    assert times(newest) == ["2025-03-03T15:00", "2025-03-03T14:30"]


def test_an_unknown_symbol_is_absent_and_an_odd_timeframe_refused(
    data: StockHistoricalDataClient, twin: TwinHandle
) -> None:
    assert list(bars_of(data, ["KELV", "NOPE"], HALF_HOUR)) == ["KELV"]
    with pytest.raises(APIError) as caught:
        bars_of(data, ["KELV"], TimeFrame(1, TimeFrameUnit.Minute))
    assert caught.value.status_code == 422
    reversed_span = {"symbols": "KELV", "timeframe": "1Day", "start": "2025-03-03", "end": "2025-03-01"}
    assert httpx.get(f"{twin.url}/v2/stocks/bars", params=reversed_span, headers=KEYS).status_code == 422


def test_the_latest_quote_encloses_the_latest_trade(data: StockHistoricalDataClient) -> None:
    quote: Any = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KELV"))
    trade: Any = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KELV"))
    bar: Any = data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="KELV"))

    assert quote["KELV"].bid_price < trade["KELV"].price < quote["KELV"].ask_price
    assert times([bar["KELV"]]) == ["2025-03-03T15:00"]


def test_a_snapshot_holds_trade_quote_and_bars(data: StockHistoricalDataClient) -> None:
    snapshot: Any = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["KELV", "KYLO"]))

    assert set(snapshot) == {"KELV", "KYLO"}
    assert times([snapshot["KELV"].daily_bar, snapshot["KELV"].previous_daily_bar]) == [
        "2025-02-28T05:00",
        "2025-02-27T05:00",
    ]


def test_after_the_close_the_price_is_the_last_close(data: StockHistoricalDataClient, twin: TwinHandle) -> None:
    twin.admin.move_clock("2025-03-03T23:00:00Z")

    trade: Any = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KELV"))
    last = bars_of(data, ["KELV"], HALF_HOUR)["KELV"][-1]

    assert trade["KELV"].price == last.close
