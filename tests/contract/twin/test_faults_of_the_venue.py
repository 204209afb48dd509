"""Lies of the venue: what becomes of orders, cancels and answers, and what is true in /admin/state."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderStatus, QueryOrderStatus
from alpaca.trading.requests import GetOrdersRequest

from tests.contract.twin.conftest import START, Send
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.polling import eventually

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
NEXT_BAR = "2025-03-03T16:00:00Z"
LATER_BAR = "2025-03-03T16:30:00Z"
FOR_EVER = 600
RESTING = 20.0


def status(trading: TradingClient, order: Any) -> tuple[OrderStatus, str]:
    found: Any = trading.get_order_by_id(order.id)
    return OrderStatus(found.status), str(found.filled_qty)


def refusal(send: Send, *args: Any, **more: Any) -> tuple[int, int, str]:
    with pytest.raises(APIError) as caught:
        send(*args, **more)
    return caught.value.status_code, caught.value.code, caught.value.message


def activities(twin: TwinHandle) -> list[str]:
    rows = requests.get(f"{twin.url}/v2/account/activities/FILL", headers=KEYS, timeout=5).json()
    return [row["symbol"] for row in rows]


def held(trading: TradingClient) -> dict[str, str]:
    positions: Any = trading.get_all_positions()
    return {position.symbol: position.qty for position in positions}


def test_an_order_may_be_invisible_by_client_id_and_in_lists(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    twin.admin.fault(kind="invisible", client_order_id="ghost", seconds=FOR_EVER)

    order = send("buy", 1, client_order_id="ghost")

    with pytest.raises(APIError) as caught:
        trading.get_order_by_client_id("ghost")
    listed = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))
    assert (caught.value.status_code, listed) == (404, [])
    assert status(trading, order)[0] is OrderStatus.FILLED
    assert [row["client_order_id"] for row in twin.admin.state()["orders"]] == ["ghost"]
    assert refusal(send, "buy", 1, client_order_id="ghost")[1] == 40010001


def test_an_invisible_order_appears_after_its_time(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="invisible", seconds=0.1)
    send("buy", 1, client_order_id="ghost")

    eventually(lambda: trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL)) != [])

    assert trading.get_order_by_client_id("ghost")


def test_a_rule_may_refuse_orders_with_a_code(twin: TwinHandle, send: Send) -> None:
    twin.admin.fault(kind="reject", symbol="KELV", code=40310000, message="insufficient buying power", times=1)

    assert refusal(send, "buy", 1) == (403, 40310000, "insufficient buying power")
    send("buy", 1)

    assert twin.admin.state()["counts"]["orders"] == 1


def test_a_short_may_be_refused_though_the_asset_says_otherwise(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    twin.admin.fault(kind="short_refused", symbol="KELV")
    asset: Any = trading.get_asset("KELV")

    send("buy", 2)
    send("sell", 2)

    assert (asset.shortable, asset.easy_to_borrow) == (True, True)
    assert refusal(send, "sell", 1) == (422, 42210000, 'asset "KELV" cannot be sold short')
    assert twin.admin.faults()[0]["matched"] == 1


def test_an_asset_may_become_hard_to_borrow_for_a_while(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="hard_to_borrow", symbol="KELV", until=NEXT_BAR)
    before: Any = trading.get_asset("KELV")
    other: Any = trading.get_asset("KYLO")
    said = refusal(send, "sell", 1)

    twin.admin.move_clock(NEXT_BAR)
    after: Any = trading.get_asset("KELV")
    send("sell", 1)

    assert (before.easy_to_borrow, other.easy_to_borrow, after.easy_to_borrow) == (False, True, True)
    assert "cannot be sold short" in said[2]


def test_a_halt_refuses_market_orders_and_lets_limits_rest(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    twin.admin.fault(kind="halt", symbol="KELV", until=NEXT_BAR)

    said = refusal(send, "buy", 1)
    rests = send("buy", 1, limit=5000.0)
    before = status(trading, rests)
    twin.admin.move_clock(NEXT_BAR)

    assert "trading halt" in said[2]
    assert (before, status(trading, rests)) == ((OrderStatus.NEW, "0"), (OrderStatus.FILLED, "1"))


def test_an_order_may_be_rejected_after_its_200(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="reject_async", nth=2)

    orders = [send("buy", 1), send("buy", 1)]

    assert [order.status for order in orders] == [OrderStatus.PENDING_NEW] * 2
    assert [status(trading, order)[0] for order in orders] == [OrderStatus.FILLED, OrderStatus.REJECTED]


def test_an_order_without_liquidity_rests_until_the_rule_is_gone(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    twin.admin.fault(kind="no_fill", client_order_id="dry-*")
    dry, other = send("buy", 1, client_order_id="dry-1"), send("buy", 1)
    twin.admin.move_clock(NEXT_BAR)
    before = status(trading, dry)

    twin.admin.clear_faults()
    twin.admin.move_clock(LATER_BAR)

    assert status(trading, other)[0] is OrderStatus.FILLED
    assert (before, status(trading, dry)) == ((OrderStatus.NEW, "0"), (OrderStatus.FILLED, "1"))


@pytest.mark.parametrize(
    ("rest", "at_next_bar", "canceled"),
    [
        ("never", (OrderStatus.PARTIALLY_FILLED, "3"), (OrderStatus.CANCELED, "3")),
        ("later", (OrderStatus.FILLED, "10"), None),
        ("after_cancel", (OrderStatus.PARTIALLY_FILLED, "3"), (OrderStatus.FILLED, "10")),
    ],
)
def test_a_partial_fill_has_a_rest(
    twin: TwinHandle,
    trading: TradingClient,
    send: Send,
    rest: str,
    at_next_bar: tuple[OrderStatus, str],
    canceled: tuple[OrderStatus, str] | None,
) -> None:
    twin.admin.fault(kind="partial_fill", fraction=0.39, rest=rest)
    order = send("buy", 10)
    first = status(trading, order)
    twin.admin.move_clock(NEXT_BAR)
    second = status(trading, order)

    assert (first, second) == ((OrderStatus.PARTIALLY_FILLED, "3"), at_next_bar)
    if canceled is not None:
        trading.cancel_order_by_id(order.id)
        assert status(trading, order) == canceled


def test_a_fill_may_land_during_the_cancel(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="fill_during_cancel", client_order_id="whole")
    twin.admin.fault(kind="fill_during_cancel", client_order_id="part", fraction=0.5)
    orders = [send("buy", 4, limit=RESTING, client_order_id=client_id) for client_id in ("whole", "part")]

    for order in orders:
        trading.cancel_order_by_id(order.id)

    assert [status(trading, order) for order in orders] == [(OrderStatus.FILLED, "4"), (OrderStatus.CANCELED, "2")]
    assert [fill["qty"] for fill in twin.admin.state()["fills"]] == ["4", "2"]


def test_the_fill_may_take_its_time_in_pending_cancel(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="fill_during_cancel", seconds=0.5)
    order = send("buy", 4, limit=RESTING)

    trading.cancel_order_by_id(order.id)
    seen = status(trading, order)

    eventually(lambda: status(trading, order) == (OrderStatus.FILLED, "4"))
    assert seen in ((OrderStatus.PENDING_CANCEL, "0"), (OrderStatus.FILLED, "4"))


def test_a_cancel_may_come_too_late(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="cancel_too_late")
    order = send("buy", 4, limit=RESTING)

    with pytest.raises(APIError) as caught:
        trading.cancel_order_by_id(order.id)

    assert (caught.value.status_code, caught.value.code) == (422, 42210000)
    assert caught.value.message == 'order is already in "filled" state'
    assert status(trading, order) == (OrderStatus.FILLED, "4")


def test_a_cancel_may_be_stuck_until_the_rule_is_gone(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="stuck_pending_cancel")
    order = send("buy", 4, limit=RESTING)

    trading.cancel_order_by_id(order.id)
    with pytest.raises(APIError) as again:
        trading.cancel_order_by_id(order.id)
    twin.admin.move_clock("2025-03-03T21:00:00Z")
    stuck: Any = trading.get_order_by_id(order.id)
    twin.admin.clear_faults()

    assert again.value.message == "order pending cancel"
    assert stuck.status is OrderStatus.PENDING_CANCEL
    assert status(trading, order) == (OrderStatus.CANCELED, "0")


def test_all_orders_can_be_canceled_though_one_is_stuck(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="stuck_pending_cancel", times=1)
    stuck, other = send("buy", 1, limit=RESTING), send("buy", 1, limit=RESTING)
    trading.cancel_order_by_id(stuck.id)

    answers: Any = trading.cancel_orders()

    assert [answer.status for answer in answers] == [422, 200]
    assert status(trading, other)[0] is OrderStatus.CANCELED


def test_a_cancel_may_be_slow(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    twin.admin.fault(kind="slow_cancel", seconds=0.3)
    order = send("buy", 4, limit=RESTING)

    trading.cancel_order_by_id(order.id)

    eventually(lambda: status(trading, order) == (OrderStatus.CANCELED, "0"))
    assert [row["status"] for row in twin.admin.state()["orders"]] == ["canceled"]


@pytest.mark.parametrize(
    ("fraction", "expected"), [(1, (OrderStatus.FILLED, "4")), (0.5, (OrderStatus.CANCELED, "2"))]
)
def test_a_fill_may_follow_the_cancel(
    twin: TwinHandle, trading: TradingClient, send: Send, fraction: float, expected: tuple[OrderStatus, str]
) -> None:
    twin.admin.fault(kind="late_fill_after_cancel", fraction=fraction)
    order = send("buy", 4, limit=RESTING)

    trading.cancel_order_by_id(order.id)

    assert status(trading, order) == expected
    assert held(trading) == {"KELV": expected[1]}


def test_positions_may_lag_behind_the_fills(twin: TwinHandle, trading: TradingClient, send: Send) -> None:
    send("buy", 1, "KYLO")
    twin.admin.fault(kind="lag", of="positions", symbol="KELV", seconds=FOR_EVER)
    send("buy", 2, "KELV")
    send("buy", 3, "KYLO")

    lagging = held(trading)
    with pytest.raises(APIError) as caught:
        trading.get_open_position("KELV")
    twin.admin.clear_faults()

    assert (lagging, caught.value.status_code) == ({"KYLO": "4"}, 404)
    assert held(trading) == {"KELV": "2", "KYLO": "4"}


def test_a_position_that_lags_is_shown_in_the_end_and_so_is_its_end(
    twin: TwinHandle, trading: TradingClient, send: Send
) -> None:
    twin.admin.fault(kind="lag", seconds=0.2)
    send("buy", 2)
    eventually(lambda: held(trading) == {"KELV": "2"})
    send("sell", 2)
    eventually(lambda: held(trading) == {})

    assert twin.admin.state()["counts"]["positions"] == 0


def test_activities_may_lag_and_one_may_be_lost(twin: TwinHandle, send: Send) -> None:
    lag = twin.admin.fault(kind="lag", of="activities", seconds=FOR_EVER)
    twin.admin.fault(kind="lost_fill", symbol="KELV", nth=1)
    send("buy", 1)
    send("buy", 1, "KYLO")
    lagging = activities(twin)

    requests.delete(f"{twin.url}/admin/faults/{lag}", timeout=5).raise_for_status()

    assert (lagging, activities(twin)) == ([], ["KYLO"])
    assert [fill["symbol"] for fill in twin.admin.state()["fills"]] == ["KELV", "KYLO"]


def test_the_venues_clock_may_differ_and_so_does_its_date(twin: TwinHandle, trading: TradingClient) -> None:
    twin.admin.fault(kind="clock_skew", seconds=-600)

    clock: Any = trading.get_clock()
    answer = requests.get(f"{twin.url}/v2/account", headers=KEYS, timeout=5)

    assert clock.timestamp.isoformat() == "2025-03-03T10:20:05-05:00"
    assert parsedate_to_datetime(answer.headers["Date"]).isoformat() == "2025-03-03T15:20:05+00:00"
    assert twin.admin.get("clock")["now"] == START


def test_answers_are_dated_by_the_twins_clock(twin: TwinHandle) -> None:
    answer = requests.get(f"{twin.url}/v2/account", headers=KEYS, timeout=5)

    assert answer.headers["Date"] == "Mon, 03 Mar 2025 15:30:05 GMT"


def test_the_clock_may_jump_back_once(twin: TwinHandle, trading: TradingClient) -> None:
    twin.admin.fault(kind="clock_back", nth=2, seconds=600)

    seen: Any = [trading.get_clock() for _ in range(3)]

    assert [clock.timestamp.strftime("%H:%M") for clock in seen] == ["10:30", "10:20", "10:30"]


def test_after_a_restart_no_cancel_is_stuck_and_no_rule_of_the_api_is_left(tmp_path: Any) -> None:
    with running_twin(store=tmp_path, clock=START) as twin:
        client = TradingClient("key", "secret", url_override=twin.url)
        twin.admin.fault(kind="stuck_pending_cancel")
        body = {"symbol": "KELV", "qty": 1, "side": "buy", "type": "limit", "limit_price": 20, "time_in_force": "gtc"}
        order: Any = client.post("/orders", body)
        client.cancel_order_by_id(order["id"])
        before = twin.admin.state()["orders"][0]["status"]

    with running_twin(store=tmp_path, clock=START) as twin:
        assert (before, twin.admin.faults()) == ("pending_cancel", [])
        assert twin.admin.state()["orders"][0]["status"] == "canceled"
