from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient

from tests.contract.twin.conftest import START, Send
from tests.fakes.twin_server import TwinHandle, running_twin

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


def test_the_clock_goes_forward_and_back_only_with_a_reset(twin: TwinHandle, send: Send) -> None:
    send("buy", 1)
    twin.admin.move_clock("2025-03-04T15:00:00Z")

    back = httpx.post(f"{twin.url}/admin/clock", json={"now": START})
    counts = twin.admin.state()["counts"]
    reset = twin.admin.move_clock(START, reset=True)

    assert back.status_code == 409
    assert "reset" in back.json()["message"]
    assert counts["fills"] == 1
    assert (reset["now"], reset["mode"], reset["rate"]) == (START, "frozen", 0)
    assert twin.admin.state()["counts"] == {"orders": 0, "open_orders": 0, "fills": 0, "positions": 0}


def test_a_clock_with_a_rate_runs(twin: TwinHandle) -> None:
    twin.admin.move_clock(START, rate=1000)

    for _ in range(200):
        if twin.admin.get("clock")["now"] > "2025-03-03T15:31":
            break
        threading.Event().wait(0.02)

    assert twin.admin.get("clock")["now"] > "2025-03-03T15:31"
    assert twin.admin.get("clock")["mode"] == "running"


def test_the_clock_can_follow_the_wall(twin: TwinHandle) -> None:
    followed = twin.admin.post("clock", mode="wall")

    assert followed["mode"] == "wall"
    assert followed["now"] > "2026"


def test_a_clock_without_a_zone_or_outside_the_calendar_is_refused(twin: TwinHandle) -> None:
    naive = httpx.post(f"{twin.url}/admin/clock", json={"now": "2025-03-04T15:00:00"})
    far = httpx.post(f"{twin.url}/admin/clock", json={"now": "2300-01-01T00:00:00Z"})

    assert (naive.status_code, far.status_code) == (422, 409)


def test_rules_of_a_test_must_be_known_and_of_the_right_kind(twin: TwinHandle) -> None:
    for body in ({"symbol": "KELV", "shortabel": False}, {"symbol": "KELV", "reject_side": "both"}):
        assert httpx.post(f"{twin.url}/admin/rules", json=body).status_code == 422
    assert httpx.post(f"{twin.url}/admin/rules", json={"symbol": "NOPE"}).status_code == 404


def test_the_state_lists_everything_a_checker_needs(twin: TwinHandle, send: Send) -> None:
    send("buy", 3, client_order_id="mine")

    state = twin.admin.state()

    assert state["counts"] == {"orders": 1, "open_orders": 0, "fills": 1, "positions": 1}
    assert state["fills"][0]["client_order_id"] == "mine"
    spent = float(state["fills"][0]["price"]) * 3
    assert float(state["cash"]) == pytest.approx(100_000 - spent)
    assert twin.admin.reset()["cash"] == "100000"


def test_the_market_tells_which_pairs_are_real(twin: TwinHandle) -> None:
    market = twin.admin.get("market")

    kinds = [pair["kind"] for pair in market["pairs"]]
    assert kinds.count("cointegrated") >= 4
    assert kinds.count("decoy") >= 2
    assert {"KELV", "KYLO"} <= set(market["symbols"])


def test_the_rate_limit_answers_429_and_spares_admin_and_health(twin: TwinHandle) -> None:
    twin.admin.post("settings", requests_per_minute=3)
    client = TradingClient("limited", "secret", url_override=twin.url)
    client._retry = 0

    with pytest.raises(APIError) as caught:  # a new minute may begin on the way, so more than one full count
        for _ in range(8):
            client.get_clock()
    answer = httpx.get(f"{twin.url}/v2/clock", headers=KEYS)

    assert (caught.value.status_code, caught.value.code) == (429, 42910000)
    assert answer.headers["X-Ratelimit-Limit"] == "3"
    assert answer.headers["X-Ratelimit-Remaining"] == "2"
    assert int(answer.headers["X-Ratelimit-Reset"]) > 1_700_000_000
    assert all(httpx.get(f"{twin.url}/health").status_code == 200 for _ in range(8))


def test_orders_fills_positions_cash_and_time_survive_a_restart(tmp_path: Path) -> None:
    with running_twin(store=tmp_path, clock=START) as twin:
        client = TradingClient("key", "secret", url_override=twin.url)
        for side, symbol in (("buy", "KELV"), ("sell", "ZORN")):
            body = {"symbol": symbol, "qty": 7, "side": side, "type": "market", "time_in_force": "day"}
            client.post("/orders", body | {"client_order_id": f"{side}-{symbol}"})
        client.post("/orders", body | {"type": "limit", "limit_price": 300, "client_order_id": "rests"})
        twin.admin.move_clock("2025-03-04T15:00:00Z")
        before = twin.admin.state()

    with running_twin(store=tmp_path, clock=START) as twin:
        after = twin.admin.state()
        again: Any = httpx.post(f"{twin.url}/v2/orders", json=body | {"client_order_id": "buy-KELV"}, headers=KEYS)

    assert (before["order_posts"], after) == (3, before | {"order_posts": 0})
    assert after["now"] == "2025-03-04T15:00:00Z"
    assert again.json()["code"] == 40010001


def test_two_twins_with_one_seed_fill_alike_whatever_the_order_of_arrival() -> None:
    def fills(symbols: list[str]) -> dict[str, tuple[str, str]]:
        with running_twin(clock=START, partial_fill_probability=0.5) as twin:
            client = TradingClient("key", "secret", url_override=twin.url)
            for symbol in symbols:
                body = {"symbol": symbol, "qty": 40, "side": "buy", "type": "market", "time_in_force": "day"}
                client.post("/orders", body | {"client_order_id": f"id-{symbol}"})
            return {fill["symbol"]: (fill["qty"], fill["price"]) for fill in twin.admin.state()["fills"]}

    symbols = ["KELV", "KYLO", "QVEL", "QORT", "ZORN", "ZEMA"]

    assert fills(symbols) == fills(symbols[::-1])
