"""Past bars through the client as it is, from the twin: all of them, or an error that says what it was."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest

from src.services.data_ingestion.adapters.polygon.history import PolygonHistory
from src.services.data_ingestion.adapters.polygon.wire import ATTEMPTS
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.vendor_data import VendorBars
from src.shared.ports.market_data import Adjustment
from tests.contract.polygon.conftest import KEY, MakeWire
from tests.fakes.hand_clock import HandClock
from tests.fakes.twin_server import TwinHandle

OPEN = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
CLOSE = datetime(2025, 3, 3, 21, 0, tzinfo=UTC)
LONG_AGO = datetime(2024, 1, 2, 5, 0, tzinfo=UTC)
BARS = "GET /v2/aggs/*"
ALPACAS = {"APCA-API-KEY-ID": "someone", "APCA-API-SECRET-KEY": "else"}


def read(
    history: PolygonHistory,
    start: datetime = OPEN,
    end: datetime = CLOSE,
    timeframe: str = "30Min",
    adjustment: Adjustment = "split",
    symbol: str = "KELV",
) -> list[VendorBars]:
    return list(history.history(symbol, start, end, timeframe, adjustment))


def fired(twin: TwinHandle, number: int) -> int:
    """How often a rule of faults has met a request."""
    return int(next(each["fired"] for each in twin.admin.faults() if each["id"] == number))


def whole(pages: list[VendorBars]) -> dict[str, Any]:
    names = ("start", "open", "high", "low", "close", "volume")
    return {name: np.concatenate([getattr(page, name) for page in pages]) for name in names}


def alpacas(twin: TwinHandle, timeframe: str, start: datetime, end: datetime, adjustment: str = "split") -> list[Any]:
    asked = {"symbols": "KELV", "timeframe": timeframe, "adjustment": adjustment, "limit": "10000"}
    asked |= {"start": start.isoformat(), "end": end.isoformat()}
    answer = httpx.get(f"{twin.url}/v2/stocks/bars", params=asked, headers=ALPACAS, timeout=10)
    rows: list[Any] = answer.raise_for_status().json()["bars"]["KELV"]
    return rows


def test_half_hours_of_a_session_are_those_of_the_same_market_at_alpaca(
    history: PolygonHistory, twin: TwinHandle
) -> None:
    found = whole(read(history))
    same = alpacas(twin, "30Min", OPEN, CLOSE - timedelta(seconds=1))

    assert [f"{each}Z" for each in np.datetime_as_string(found["start"], unit="s")] == [row["t"] for row in same]
    for name, short in (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"), ("volume", "v")):
        assert found[name].tolist() == [row[short] for row in same]
    assert found["start"].dtype == np.dtype("datetime64[us]")


def test_the_end_of_the_window_is_not_in_it_and_extended_hours_are(history: PolygonHistory) -> None:
    early = whole(read(history, OPEN - timedelta(hours=1), OPEN + timedelta(minutes=30)))

    assert early["start"].tolist() == [datetime(2025, 3, 3, 14, 0), datetime(2025, 3, 3, 14, 30)]  # noqa: DTZ001


def test_a_long_window_comes_in_pages_and_whole(history: PolygonHistory, twin: TwinHandle) -> None:
    counted = twin.admin.fault(kind="latency", endpoint=BARS, seconds=0)
    pages = read(history, LONG_AGO, CLOSE)
    asked = fired(twin, counted)
    starts = whole(pages)["start"]

    assert len(pages) == asked == 3
    assert bool(np.all(starts[1:] > starts[:-1]))
    inside = {row["t"] for row in alpacas(twin, "30Min", LONG_AGO, CLOSE - timedelta(seconds=1))}
    assert inside <= {f"{each}Z" for each in np.datetime_as_string(starts, unit="s")}


def test_days_are_the_sessions_of_the_window_however_it_cuts_them(history: PolygonHistory, twin: TwinHandle) -> None:
    # From the open of one session to the close of another: the rows of both days begin at midnight.
    found = whole(read(history, OPEN, datetime(2025, 3, 4, 21, 0, tzinfo=UTC), "1Day"))
    same = alpacas(twin, "1Day", OPEN - timedelta(days=1), datetime(2025, 3, 4, 21, 0, tzinfo=UTC))

    assert found["close"].tolist() == [row["c"] for row in same]
    assert len(same) == 2


def test_adjusted_for_splits_or_not_and_never_for_dividends(history: PolygonHistory, twin: TwinHandle) -> None:
    split = {"type": "forward_split", "symbol": "KELV", "ex_date": "2025-03-05", "old_rate": 1, "new_rate": 3}
    before = whole(read(history))["close"]
    twin.admin.post("corporate-actions", **split)
    twin.admin.post("corporate-actions", type="cash_dividend", symbol="KELV", ex_date="2025-03-05", rate="5")
    twin.admin.move_clock("2025-03-05T22:30:00Z")

    raw, adjusted = whole(read(history, adjustment="raw"))["close"], whole(read(history))["close"]

    assert raw.tolist() == before.tolist()
    assert adjusted == pytest.approx(before / 3, rel=1e-3)


@pytest.mark.parametrize("adjustment", ["dividend", "all"])
def test_an_adjustment_that_polygon_lacks_is_one_line(history: PolygonHistory, adjustment: Adjustment) -> None:
    with pytest.raises(InputInvalid, match="raw or adjusted for splits"):
        read(history, adjustment=adjustment)


def test_a_width_that_would_mix_sessions_is_not_asked_for(history: PolygonHistory) -> None:
    with pytest.raises(InputInvalid, match="30Min or 1Day"):
        read(history, timeframe="1Hour")


def test_what_is_no_symbol_never_gets_into_an_address(history: PolygonHistory, twin: TwinHandle) -> None:
    counted = twin.admin.fault(kind="latency", endpoint="*", seconds=0)

    with pytest.raises(InputInvalid):
        read(history, symbol="../../v3/reference")

    assert [each["matched"] for each in twin.admin.faults() if each["id"] == counted] == [0]


def test_a_symbol_without_bars_then_gives_none_and_an_unknown_one_is_refused(history: PolygonHistory) -> None:
    holiday = datetime(2025, 1, 1, 14, 30, tzinfo=UTC)

    assert read(history, holiday, holiday + timedelta(hours=5)) == []
    with pytest.raises(Refused, match="does not know the symbol NOPE"):
        read(history, symbol="NOPE")


def test_a_delisted_symbol_is_known(history: PolygonHistory, twin: TwinHandle) -> None:
    twin.admin.post("corporate-actions", type="delisting", symbol="KELV", ex_date="2025-03-05")
    twin.admin.move_clock("2025-03-06T22:30:00Z")

    holiday = datetime(2025, 1, 1, 14, 30, tzinfo=UTC)

    assert read(history, holiday, holiday + timedelta(hours=5)) == []


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"kind": "html"}, "text/html.* came in the place of JSON"),
    ({"kind": "error_with_200", "message": "backend is gone"}, "status ERROR with HTTP 200: backend is gone"),
    ({"kind": "no_results"}, "no list of results"),
    ({"kind": "wrong_count", "by": 2}, "13 results came, 15 were announced"),
    ({"kind": "wrong_count", "by": -13}, "13 results came, 0 were announced"),
    ({"kind": "empty"}, "came in the place of JSON"),
    ({"kind": "truncated", "keep": 0.5}, "the answer is no JSON"),
    ({"kind": "extra", "null_answer": True}, "an object was expected, not NoneType"),
    ({"kind": "extra", "set": {"results": {"t": 1}}}, "no list of results"),
    ({"kind": "extra", "set": {"results.0": 7}}, "no list of results"),
    ({"kind": "extra", "set": {"status": "BEWITCHED"}}, "status BEWITCHED"),
    ({"kind": "extra", "set": {"next_url": 7}}, "address is no text"),
    ({"kind": "extra", "set": {"next_url": "https://evil.example/v2/aggs"}}, "said to be on evil.example"),
    ({"kind": "extra", "set": {"resultsCount": [13]}}, "13 results came"),
    ({"kind": "status", "status": 500}, "HTTP 500"),
    ({"kind": "status", "status": 502, "body": "html"}, "HTTP 502 no answer that can be read"),
    ({"kind": "status", "status": 404, "body": "html"}, "HTTP 404"),
    ({"kind": "redirect"}, "HTTP 302"),
    ({"kind": "reset"}, "ProtocolError"),
    ({"kind": "drop"}, "ProtocolError"),
    ({"kind": "accept_then_reset"}, "ProtocolError"),
]


@pytest.mark.parametrize(("fault", "why"), BROKEN, ids=lambda value: str(value)[:60])
def test_an_answer_that_is_not_whole_is_transient_and_never_no_bars(
    history: PolygonHistory, twin: TwinHandle, clock: HandClock, fault: dict[str, Any], why: str
) -> None:
    number = twin.admin.fault(endpoint=BARS, **fault)

    with pytest.raises(Transient, match=why):
        read(history)

    assert fired(twin, number) == ATTEMPTS
    assert clock.slept > 0


@pytest.mark.parametrize("fault", [fault for fault, _ in BROKEN], ids=lambda value: str(value)[:60])
def test_one_such_answer_is_asked_for_again(history: PolygonHistory, twin: TwinHandle, fault: dict[str, Any]) -> None:
    undisturbed = whole(read(history))
    twin.admin.fault(endpoint=BARS, times=1, **fault)

    found = whole(read(history))

    assert all(found[name].tolist() == undisturbed[name].tolist() for name in undisturbed)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("html", "came in the place of JSON"),
        ("repeats", "its pages repeat"),
        ("elsewhere", "said to be on elsewhere.example"),
    ],
)
def test_a_broken_second_page_is_an_error_and_no_early_end(
    history: PolygonHistory, twin: TwinHandle, form: str, why: str
) -> None:
    twin.admin.fault(kind="broken_page", form=form, endpoint=BARS)
    pages = history.history("KELV", LONG_AGO, CLOSE, "30Min", "split")

    first = next(pages)
    with pytest.raises(Transient, match=why):
        list(pages)

    assert len(first) == 1666


def test_a_bar_without_a_time_is_an_error(history: PolygonHistory, twin: TwinHandle) -> None:
    twin.admin.fault(kind="extra", endpoint=BARS, set={"results.0.t": "noon"})

    with pytest.raises(Transient, match="a bar without a time"):
        read(history)


def test_pages_that_overlap_are_an_error(history: PolygonHistory, twin: TwinHandle) -> None:
    long_ago = int(LONG_AGO.timestamp() * 1000)
    twin.admin.fault(kind="extra", endpoint=BARS, nth=2, set={"results.0.t": long_ago})
    pages = history.history("KELV", LONG_AGO, CLOSE, "30Min", "split")
    next(pages)

    with pytest.raises(Transient, match="begins before the last one ended"):
        list(pages)


@pytest.mark.parametrize("after_headers", [False, True])
def test_a_vendor_that_hangs_ends_within_the_time_out(
    twin: TwinHandle, make_wire: MakeWire, *, after_headers: bool
) -> None:
    number = twin.admin.fault(kind="hang", endpoint=BARS, after_headers=after_headers)
    hurried = PolygonHistory(make_wire(twin.url, read_seconds=0.2))

    with pytest.raises(Transient, match="timed out"):
        read(hurried)

    assert fired(twin, number) == ATTEMPTS


def test_bars_older_than_the_plan_are_refused_once_and_the_setting_is_named(
    history: PolygonHistory, twin: TwinHandle
) -> None:
    number = twin.admin.fault(kind="plan_refusal", endpoint=BARS, history_days=30)

    recent = read(history)
    with pytest.raises(Refused, match="TRADEWINDS_POLYGON_HISTORY_DAYS") as refusal:
        read(history, LONG_AGO)

    assert len(recent) == 1
    assert refusal.value.code == "NOT_AUTHORIZED"
    assert fired(twin, number) == 1


def test_a_bad_key_is_refused_and_is_in_no_line(twin: TwinHandle, make_wire: MakeWire) -> None:
    with pytest.raises(Refused, match="TRADEWINDS_POLYGON_API_KEY") as refusal:
        read(PolygonHistory(make_wire(twin.url, key="BAD-canary-4711")))

    assert "canary" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_the_key_is_taken_out_of_what_the_vendor_writes(history: PolygonHistory, twin: TwinHandle) -> None:
    for fault in ({"kind": "error_with_200"}, {"kind": "status", "status": 400}):
        twin.admin.clear_faults()
        twin.admin.fault(endpoint=BARS, message=f"no such key {KEY}", **fault)

        with pytest.raises((Transient, Refused)) as failure:
            read(history)

        assert KEY not in str(failure.value)
        assert "no such key ***" in str(failure.value)


def test_restated_bars_come_as_they_are_now(history: PolygonHistory, twin: TwinHandle) -> None:
    before = whole(read(history))["close"]
    twin.admin.fault(kind="restated_bars", factor=1.01, day="2025-03-03")

    assert whole(read(history))["close"] == pytest.approx(before * 1.01, rel=1e-5)


def test_delayed_answers_are_answers(history: PolygonHistory, twin: TwinHandle) -> None:
    twin.admin.fault(kind="extra", endpoint=BARS, set={"status": "DELAYED"})

    assert len(read(history)[0]) == 13


def test_what_is_no_number_is_not_made_one(history: PolygonHistory, twin: TwinHandle) -> None:
    twin.admin.fault(
        kind="extra", endpoint=BARS, set={"results.0.c": "12.5", "results.0.h": True}, null=["results.0.o"]
    )

    page = read(history)[0]

    assert [math.isnan(each[0]) for each in (page.open, page.high, page.low, page.close)] == [True, True, False, True]


def test_no_more_requests_than_the_plan_allows_in_any_minute(
    twin: TwinHandle, make_wire: MakeWire, clock: HandClock
) -> None:
    counted = twin.admin.fault(kind="latency", endpoint=BARS, seconds=0)
    slow = PolygonHistory(make_wire(twin.url, per_minute=5))

    for _ in range(12):
        read(slow)

    assert fired(twin, counted) == 12
    assert clock.slept == pytest.approx(120.0)


def test_a_429_makes_everybody_wait_and_is_then_asked_again(
    history: PolygonHistory, twin: TwinHandle, clock: HandClock
) -> None:
    twin.admin.fault(kind="status", status=429, endpoint=BARS, times=1, reset_seconds=40)

    assert len(read(history)[0]) == 13
    assert clock.slept > 39.9


def test_the_twins_own_limit_is_polygons(twin: TwinHandle, make_wire: MakeWire, clock: HandClock) -> None:
    twin.admin.post("settings", polygon_requests_per_minute=2)
    impatient = PolygonHistory(make_wire(twin.url, key=f"counted-{clock.now}"))

    with pytest.raises(Transient, match="HTTP 429 You've exceeded the maximum requests per minute"):
        for _ in range(6):
            read(impatient)
