"""Lies between client and venue: what the real client is told, and what is true in /admin/state."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetOrdersRequest

from tests.contract.twin.conftest import Send
from tests.fakes.twin_server import TwinHandle

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
POST = "POST /v2/orders"
PATIENCE = 0.3
BODY = {"symbol": "KELV", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}


def post(twin: TwinHandle, client_id: str = "mine", **more: Any) -> requests.Response:
    body = BODY | {"client_order_id": client_id} | more
    return requests.post(f"{twin.url}/v2/orders", json=body, headers=KEYS, timeout=PATIENCE, allow_redirects=False)


def get(twin: TwinHandle, path: str) -> requests.Response:
    return requests.get(f"{twin.url}{path}", headers=KEYS, timeout=PATIENCE, allow_redirects=False)


def placed(twin: TwinHandle) -> list[str]:
    return [order["client_order_id"] for order in twin.admin.state()["orders"]]


@pytest.mark.parametrize(
    ("rule", "error", "expected"),
    [
        ({"kind": "drop"}, requests.ConnectionError, []),
        ({"kind": "drop", "seconds": 30}, requests.ReadTimeout, []),
        ({"kind": "reset"}, requests.ConnectionError, []),
        ({"kind": "hang"}, requests.ReadTimeout, []),
        ({"kind": "hang", "after_headers": True}, requests.ConnectionError, []),
        ({"kind": "latency", "seconds": 2, "processed": True}, requests.ReadTimeout, ["mine"]),
        ({"kind": "accept_then_timeout"}, requests.ReadTimeout, ["mine"]),
        ({"kind": "accept_then_timeout", "seconds": 0}, requests.ConnectionError, ["mine"]),
        ({"kind": "accept_then_reset"}, requests.ConnectionError, ["mine"]),
    ],
)
def test_a_connection_that_ends_says_nothing_about_the_order(
    twin: TwinHandle, rule: dict[str, Any], error: type[Exception], expected: list[str]
) -> None:
    twin.admin.fault(endpoint=POST, **rule)

    with pytest.raises(error):
        post(twin)

    assert placed(twin) == expected
    assert twin.admin.state()["order_posts"] == 1
    assert get(twin, "/v2/account").status_code == 200


def test_a_reset_is_a_reset_and_a_drop_is_an_end(twin: TwinHandle) -> None:
    twin.admin.fault(kind="reset", nth=1)
    twin.admin.fault(kind="drop", nth=2)

    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        post(twin)
    with pytest.raises(requests.ConnectionError, match="without response"):
        post(twin)


@pytest.mark.parametrize("processed", [True, False])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_may_come_before_or_after_the_venue_acted(
    twin: TwinHandle, trading: TradingClient, send: Send, status: int, processed: bool
) -> None:
    twin.admin.fault(kind="status", endpoint=POST, status=status, processed=processed)

    with pytest.raises(APIError) as caught:
        send("buy", 1, client_order_id="mine")

    assert caught.value.status_code == status
    assert placed(twin) == (["mine"] if processed else [])
    assert twin.admin.state()["order_posts"] == 1


@pytest.mark.parametrize(("body", "starts"), [("json", "{"), ("html", "<html>"), ("empty", "")])
def test_an_error_has_the_body_that_was_asked_for(twin: TwinHandle, body: str, starts: str) -> None:
    twin.admin.fault(kind="status", status=503, body=body)

    answer = get(twin, "/v2/account")

    assert answer.status_code == 503
    assert answer.text[: len(starts)] == starts
    assert bool(answer.text) == bool(starts)


def test_a_429_says_when_the_limit_is_over(twin: TwinHandle) -> None:
    twin.admin.fault(kind="status", endpoint="GET /v2/positions", status=429, reset_seconds=7)

    answer = get(twin, "/v2/positions")

    assert (answer.status_code, answer.json()["code"]) == (429, 42910000)
    assert answer.headers["X-Ratelimit-Remaining"] == "0"
    assert answer.headers["X-Ratelimit-Limit"] == "200"
    assert answer.headers["Retry-After"] == "7"
    assert int(answer.headers["X-Ratelimit-Reset"]) > 1_700_000_000
    assert get(twin, "/v2/account").status_code == 200


def test_an_error_may_carry_a_code_and_a_message(twin: TwinHandle, send: Send) -> None:
    twin.admin.fault(kind="status", endpoint=POST, status=403, code=40310000, message="account blocked")

    with pytest.raises(APIError) as caught:
        send("buy", 1)

    assert (caught.value.code, caught.value.message) == (40310000, "account blocked")


def test_a_redirect_leads_elsewhere(twin: TwinHandle) -> None:
    twin.admin.fault(kind="redirect", location="https://example.org/login")

    answer = post(twin)

    assert (answer.status_code, answer.headers["location"]) == (302, "https://example.org/login")
    assert placed(twin) == []


@pytest.mark.parametrize("kind", ["truncated", "empty", "html"])
def test_a_200_that_is_no_json_hides_an_order_that_was_placed(twin: TwinHandle, kind: str) -> None:
    twin.admin.fault(kind=kind, endpoint=POST)

    answer = post(twin)

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
    assert placed(twin) == ["mine"]


def test_a_row_of_a_list_may_be_spoilt(twin: TwinHandle, send: Send) -> None:
    for client_id in ("first", "second"):
        send("buy", 1, limit=20.0, client_order_id=client_id)
    twin.admin.fault(kind="extra", endpoint="GET /v2/orders", row=1, set={"status": "bewitched"}, null=["qty"])

    rows = get(twin, "/v2/orders").json()

    assert [(row["status"], row["qty"]) for row in rows] == [("new", "1"), ("bewitched", None)]
    assert {order["status"] for order in twin.admin.state()["orders"]} == {"new"}


def test_unknown_fields_and_nothing_at_all_are_answers_too(twin: TwinHandle, trading: TradingClient) -> None:
    twin.admin.fault(kind="extra", endpoint="GET /v2/account", nth=1)
    twin.admin.fault(kind="extra", endpoint="GET /v2/account", nth=2, null_answer=True)

    spoilt, nothing = get(twin, "/v2/account").json(), get(twin, "/v2/account").json()

    assert spoilt["twin_huge_number"] == 10**18
    assert spoilt["cash"] == "100000"
    assert nothing is None


def test_a_price_in_market_data_may_be_false(twin: TwinHandle) -> None:
    path = "/v2/stocks/bars?symbols=KELV,KYLO&timeframe=1Hour&start=2025-02-28"
    twin.admin.fault(kind="extra", endpoint="GET /v2/stocks/bars", symbol="KELV", set={"bars.KELV.0.c": 0}, nth=1)
    twin.admin.fault(kind="missing_rows", endpoint="GET /v2/stocks/bars", without=["KELV"], nth=2)
    twin.admin.fault(kind="missing_rows", endpoint="GET /v2/stocks/bars", keep=2, nth=3)

    false, without, short = (get(twin, path).json()["bars"] for _ in range(3))
    true = get(twin, path).json()["bars"]

    assert false["KELV"][0]["c"] == 0 < true["KELV"][0]["c"]
    assert set(without) == {"KYLO"}
    assert {symbol: len(rows) for symbol, rows in short.items()} == {"KELV": 2, "KYLO": 2}


def test_a_list_may_lack_rows_or_be_empty_with_a_200(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    send("buy", 1)
    send("buy", 1, "KYLO")
    twin.admin.fault(kind="missing_rows", endpoint="GET /v2/positions", nth=1)
    twin.admin.fault(kind="missing_rows", endpoint="GET /v2/positions", without=["KYLO"], nth=2)

    seen: Any = [trading.get_all_positions() for _ in range(3)]

    assert [[row.symbol for row in rows] for rows in seen] == [[], ["KELV"], ["KELV", "KYLO"]]
    assert twin.admin.state()["counts"]["positions"] == 2


def test_latency_delays_and_nothing_else(twin: TwinHandle, send: Send) -> None:
    twin.admin.fault(kind="latency", seconds=0.01, endpoint=POST)

    send("buy", 1, client_order_id="mine")

    assert placed(twin) == ["mine"]


def test_a_rule_means_its_symbol_its_client_id_and_its_request_only(twin: TwinHandle, trading: TradingClient) -> None:
    twin.admin.fault(kind="status", endpoint=POST, symbol="KYLO")
    twin.admin.fault(kind="status", endpoint=POST, client_order_id="exit-*")
    twin.admin.fault(kind="status", endpoint="GET /v2/orders/*", symbol="KELV")

    answers = [post(twin, "a"), post(twin, "b", symbol="KYLO"), post(twin, "exit-1")]
    order = answers[0].json()["id"]

    assert [answer.status_code for answer in answers] == [200, 503, 503]
    assert get(twin, f"/v2/orders/{order}").status_code == 503
    assert get(twin, "/v2/orders").status_code == 200
    assert [(rule["matched"], rule["fired"]) for rule in twin.admin.faults()] == [(1, 1)] * 3


def test_only_the_nth_request_meets_the_fault(twin: TwinHandle) -> None:
    twin.admin.fault(kind="status", endpoint="GET /v2/account", nth=2)

    assert [get(twin, "/v2/account").status_code for _ in range(3)] == [200, 503, 200]


def test_a_rule_may_begin_and_end_with_the_twins_clock(twin: TwinHandle) -> None:
    twin.admin.fault(kind="status", after="2025-03-03T16:00:00Z", until="2025-03-03T17:00:00Z")
    seen = []

    for hour in ("15:45", "16:00", "17:00"):
        twin.admin.move_clock(f"2025-03-03T{hour}:00Z")
        seen.append(get(twin, "/v2/account").status_code)

    assert seen == [200, 503, 200]


def test_chance_with_a_seed_strikes_the_same_requests_again(twin: TwinHandle) -> None:
    def struck() -> list[int]:
        twin.admin.clear_faults()
        twin.admin.fault(kind="status", probability=0.5, seed=11)
        return [get(twin, "/v2/account").status_code for _ in range(20)]

    first = struck()

    assert set(first) == {200, 503}
    assert struck() == first


def test_the_admin_api_is_never_lied_about(twin: TwinHandle) -> None:
    twin.admin.fault(kind="drop")

    assert twin.admin.state()["counts"]["orders"] == 0
    assert requests.get(f"{twin.url}/health", timeout=PATIENCE).status_code == 200


def test_get_orders_through_alpaca_py_meets_an_unknown_status(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    send("buy", 1, limit=20.0)
    twin.admin.fault(kind="extra", endpoint="GET /v2/orders", set={"status": "bewitched"}, times=1)

    with pytest.raises(ValueError, match="bewitched"):
        trading.get_orders(GetOrdersRequest())

    rows: Any = trading.get_orders(GetOrdersRequest())
    assert [row.status.value for row in rows] == ["new"]
