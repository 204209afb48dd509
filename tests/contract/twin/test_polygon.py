"""Polygon.io's part of the twin, through its own client."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from polygon import RESTClient
from polygon.exceptions import BadResponse

from tests.fakes.twin_server import TwinHandle, running_twin

NEW_YORK = ZoneInfo("America/New_York")
EVENING = "2025-03-04T22:30:00Z"
DAY = "2025-03-03"
ALPACAS = {"APCA-API-KEY-ID": "any", "APCA-API-SECRET-KEY": "any"}


@pytest.fixture
def evening(twin: TwinHandle) -> TwinHandle:
    twin.admin.move_clock(EVENING)
    twin.admin.post("settings", polygon_requests_per_minute=0)
    return twin


@pytest.fixture
def client(evening: TwinHandle) -> Any:
    return RESTClient("any", base=evening.url, retries=0)


def times(bars: list[Any]) -> list[str]:
    return [f"{datetime.fromtimestamp(bar.timestamp / 1000, NEW_YORK):%H:%M}" for bar in bars]


def test_half_hours_hold_the_session_and_a_half_hour_on_either_side(client: Any) -> None:
    bars = list(client.list_aggs("KELV", 30, "minute", DAY, DAY))

    assert times(bars)[:2] + times(bars)[-2:] == ["09:00", "09:30", "15:30", "16:00"]
    assert len(bars) == 15


def test_the_hour_of_nine_mixes_what_was_before_the_open_with_what_came_after_it(client: Any) -> None:
    early, first, *_ = client.list_aggs("KELV", 30, "minute", DAY, DAY)
    mixed, *rest = client.list_aggs("KELV", 1, "hour", DAY, DAY)

    assert times([mixed, *rest]) == [f"{hour:02d}:00" for hour in range(9, 17)]
    assert (mixed.open, mixed.close) == (early.open, first.close)
    assert mixed.open != first.open
    assert mixed.high == max(early.high, first.high) > first.high
    assert mixed.volume == early.volume + first.volume


def test_a_day_is_its_session_and_begins_at_midnight(client: Any) -> None:
    (day,) = client.list_aggs("KELV", 1, "day", DAY, DAY)
    session = list(client.list_aggs("KELV", 30, "minute", DAY, DAY))[1:-1]

    assert times([day]) == ["00:00"]
    assert (day.open, day.close) == (session[0].open, session[-1].close)
    assert (day.high, day.low) == (max(each.high for each in session), min(each.low for each in session))


@pytest.mark.parametrize("minutes", [1, 5])
def test_finer_bars_add_up_to_the_half_hours(client: Any, minutes: int) -> None:
    fine = list(client.list_aggs("KELV", minutes, "minute", DAY, DAY))

    assert fine == list(client.list_aggs("KELV", 30, "minute", DAY, DAY))


def test_a_bar_is_served_once_it_is_over(evening: TwinHandle, client: Any) -> None:
    evening.admin.move_clock("2025-03-05T15:59:59Z")
    before = times(list(client.list_aggs("KELV", 1, "hour", "2025-03-05", "2025-03-05")))
    evening.admin.move_clock("2025-03-05T16:00:00Z")

    assert before == ["09:00"]
    assert times(list(client.list_aggs("KELV", 1, "hour", "2025-03-05", "2025-03-05"))) == ["09:00", "10:00"]
    assert list(client.list_aggs("KELV", 1, "day", "2025-03-05", "2025-03-05")) == []


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_of_either_order_are_the_whole(client: Any, sort: str) -> None:
    # A page of 100 minutes holds three half hours.
    paged = list(client.list_aggs("KELV", 30, "minute", DAY, "2025-03-04", sort=sort, limit=100))
    whole = list(client.list_aggs("KELV", 30, "minute", DAY, "2025-03-04"))

    assert paged == (whole if sort == "asc" else whole[::-1])
    assert len(whole) == 30


def test_splits_are_in_adjusted_bars_alone(evening: TwinHandle, client: Any) -> None:
    split = {"type": "forward_split", "symbol": "KELV", "ex_date": "2025-03-05", "old_rate": 1, "new_rate": 2}
    evening.admin.post("corporate-actions", **split)
    evening.admin.move_clock("2025-03-05T22:30:00Z")

    (raw,) = client.list_aggs("KELV", 1, "day", DAY, DAY, adjusted=False)
    (adjusted,) = client.list_aggs("KELV", 1, "day", DAY, DAY, adjusted=True)

    assert adjusted.close == pytest.approx(raw.close / 2, abs=1e-4)
    assert adjusted.volume == 2 * raw.volume


def test_grouped_and_previous_are_the_same_days(client: Any) -> None:
    (day,) = client.list_aggs("KELV", 1, "day", DAY, DAY)
    (last,) = client.list_aggs("KELV", 1, "day", "2025-03-04", "2025-03-04")
    grouped = {each.ticker: each for each in client.get_grouped_daily_aggs(DAY)}

    assert grouped["KELV"].close == day.close
    assert len(grouped) > 2
    assert client.get_previous_close_agg("KELV")[0].close == last.close


def test_an_unknown_ticker_has_no_bars_and_no_details(client: Any) -> None:
    assert list(client.list_aggs("NOPE", 1, "day", DAY, DAY)) == []
    with pytest.raises(BadResponse, match="NOT_FOUND"):
        client.get_ticker_details("NOPE")


@pytest.mark.parametrize("ask", [(2, "day"), (7, "minute"), (1, "fortnight")])
def test_a_width_that_the_twin_lacks_is_an_error_in_polygons_words(client: Any, ask: tuple[int, str]) -> None:
    with pytest.raises(BadResponse, match='"status":"ERROR"'):
        list(client.list_aggs("KELV", *ask, DAY, DAY))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic any"}, {"Authorization": "Bearer BAD-key"}])
def test_without_a_bearers_key_there_is_nothing(evening: TwinHandle, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{evening.url}/v1/marketstatus/now", headers=headers, timeout=10)

    assert (answer.status_code, answer.json()["status"]) == (401, "ERROR")


def test_the_limit_is_polygons_own_and_alpacas_is_not_touched() -> None:
    with running_twin(clock=EVENING, polygon_requests_per_minute=2) as twin:
        bearer = {"Authorization": "Bearer any"}
        # Six in a row reach into two of the limit's minutes at most.
        answers = [httpx.get(f"{twin.url}/v1/marketstatus/now", headers=bearer, timeout=10) for _ in range(6)]
        alpacas = httpx.get(f"{twin.url}/v2/clock", headers=ALPACAS, timeout=10)

    refused = [each for each in answers if each.status_code == 429]
    assert "exceeded the maximum requests" in refused[0].json()["error"]
    assert alpacas.status_code == 200


def test_the_market_status_follows_the_session(evening: TwinHandle, client: Any) -> None:
    seen = []
    for moment in ("2025-03-05T12:00:00Z", "2025-03-05T15:00:00Z", "2025-03-05T22:00:00Z", "2025-03-06T03:00:00Z"):
        evening.admin.move_clock(moment)
        status = client.get_market_status()
        seen.append((status.market, status.early_hours, status.after_hours))

    assert seen == [
        ("extended-hours", True, False),
        ("open", False, False),
        ("extended-hours", False, True),
        ("closed", False, False),
    ]


def test_holidays_and_half_days_are_the_exchange_calendars(client: Any) -> None:
    coming = {(each.date, each.status): each for each in client.get_market_holidays() if each.exchange == "NYSE"}

    assert ("2025-07-04", "closed") in coming
    assert coming["2025-07-03", "early-close"].close == "2025-07-03T17:00:00.000Z"


def test_lists_come_in_pages(client: Any, evening: TwinHandle) -> None:
    every = evening.admin.get("market")["symbols"]

    assert [each.ticker for each in client.list_tickers(limit=3)] == sorted(every)
    assert [each.ticker for each in client.list_tickers(limit=3, order="desc")] == sorted(every, reverse=True)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        # What the client makes of it: nothing, or less, and no word of it.
        ("html", 0),
        ("error_with_200", 0),
        ("no_results", 0),
        ("wrong_count", 15),
    ],
)
def test_faults_that_the_client_does_not_notice(evening: TwinHandle, client: Any, kind: str, seen: int) -> None:
    evening.admin.fault(kind=kind, endpoint="GET /v2/aggs/*")

    assert len(list(client.list_aggs("KELV", 30, "minute", DAY, DAY))) == seen


def test_a_broken_second_page_silently_ends_the_clients_list(evening: TwinHandle, client: Any) -> None:
    evening.admin.fault(kind="broken_page")

    assert len(list(client.list_aggs("KELV", 30, "minute", DAY, DAY, limit=150))) == 5


def test_faults_of_polygon_leave_alpaca_alone(evening: TwinHandle) -> None:
    for kind in ("error_with_200", "no_results", "wrong_count"):
        evening.admin.fault(kind=kind)

    answer = httpx.get(f"{evening.url}/v2/assets", headers=ALPACAS, timeout=10)

    assert answer.status_code == 200
    assert [each["fired"] for each in evening.admin.faults()] == [0, 0, 0]


def test_bars_older_than_the_plan_are_refused(evening: TwinHandle, client: Any) -> None:
    evening.admin.fault(kind="plan_refusal", history_days=30)

    assert list(client.list_aggs("KELV", 1, "day", DAY, DAY))
    with pytest.raises(BadResponse, match="NOT_AUTHORIZED"):
        list(client.list_aggs("KELV", 1, "day", "2025-01-02", DAY))
