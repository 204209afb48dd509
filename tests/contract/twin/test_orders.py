from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, ReplaceOrderRequest, StopOrderRequest

from tests.contract.twin.conftest import Send
from tests.fakes.twin_server import TwinHandle

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


def refused(send: Send, *args: Any, **more: Any) -> tuple[int, int, str]:
    with pytest.raises(APIError) as caught:
        send(*args, **more)
    return caught.value.status_code, caught.value.code, caught.value.message


def status_of(trading: TradingClient, order: Any) -> OrderStatus:
    found: Any = trading.get_order_by_id(order.id)
    return OrderStatus(found.status)


def test_the_answer_to_a_post_shows_no_fill_and_the_next_get_does(trading: TradingClient, send: Send) -> None:
    order = send("buy", 10, client_order_id="first")

    later: Any = trading.get_order_by_client_id("first")
    assert (order.status, order.filled_qty) == (OrderStatus.PENDING_NEW, "0")
    assert later.id == order.id
    assert (later.status, later.filled_qty) == (OrderStatus.FILLED, "10")


def test_a_fill_is_at_the_open_of_the_bar_in_progress_half_a_spread_away(
    trading: TradingClient, send: Send, twin: TwinHandle
) -> None:
    bought, sold = send("buy", 10, "KELV"), send("sell", 10, "KYLO")
    twin.admin.move_clock("2025-03-03T16:00:00Z")
    bars = httpx.get(
        f"{twin.url}/v2/stocks/bars",
        params={"symbols": "KELV,KYLO", "timeframe": "30Min", "start": "2025-03-03T15:30:00Z"},
        headers=KEYS,
    ).json()["bars"]

    buy: Any = trading.get_order_by_id(bought.id)
    sell: Any = trading.get_order_by_id(sold.id)
    assert 0 < float(buy.filled_avg_price) / bars["KELV"][0]["o"] - 1 < 0.0003
    assert 0 < 1 - float(sell.filled_avg_price) / bars["KYLO"][0]["o"] < 0.0003


def test_a_client_order_id_is_unique_even_after_a_cancel(trading: TradingClient, send: Send) -> None:
    order = send("buy", 1, limit=20.0, client_order_id="once")
    trading.cancel_order_by_id(order.id)

    assert status_of(trading, order) is OrderStatus.CANCELED
    assert refused(send, "buy", 1, client_order_id="once") == (422, 40010001, "client_order_id must be unique")


def test_an_order_sent_while_closed_waits_for_the_open(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    twin.admin.move_clock("2025-03-03T22:00:00Z")
    order = send("buy", 10)
    assert order.status is OrderStatus.ACCEPTED
    assert status_of(trading, order) is OrderStatus.ACCEPTED

    twin.admin.move_clock("2025-03-04T14:30:00Z")

    filled: Any = trading.get_order_by_id(order.id)
    assert filled.status is OrderStatus.FILLED
    assert filled.filled_at.isoformat().startswith("2025-03-04T14:30:00")


def test_a_day_order_expires_at_the_close_and_a_gtc_order_does_not(
    trading: TradingClient, send: Send, twin: TwinHandle
) -> None:
    day = send("buy", 1, limit=20.0)
    lasting = send("buy", 1, limit=20.0, time_in_force=TimeInForce.GTC)

    twin.admin.move_clock("2025-03-03T21:00:00Z")

    assert status_of(trading, day) is OrderStatus.EXPIRED
    assert status_of(trading, lasting) is OrderStatus.NEW


def test_a_market_order_in_a_gap_waits_for_the_next_bar(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    from src.services.twin.domain.moments import iso_utc
    from src.services.twin.domain.sessions import Sessions
    from src.services.twin.domain.synthetic import synthetic_market

    sessions = Sessions()
    market = synthetic_market(sessions, 7)
    gap = next(
        slot
        for day in sessions.all[-1500:]
        for slot in range(day.first_slot + 1, day.last_slot)
        if market.span[0] < day.open < market.span[1] and market.bar("VEXI", slot) is None
    )
    twin.admin.move_clock(str(iso_utc(sessions.slot_span(gap)[0])))

    order = send("buy", 1, "VEXI")
    waiting = status_of(trading, order)
    twin.admin.move_clock(str(iso_utc(sessions.slot_span(gap + 1)[0])))

    assert (waiting, status_of(trading, order)) == (OrderStatus.NEW, OrderStatus.FILLED)


def test_a_limit_order_rests_until_a_bar_touches_it(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    twin.admin.move_clock("2025-03-03T15:30:00Z", reset=True)
    price = float(
        httpx.get(f"{twin.url}/v2/stocks/trades/latest", params={"symbols": "KELV"}, headers=KEYS).json()["trades"][
            "KELV"
        ]["p"]
    )
    near, far = send("buy", 5, limit=round(price * 0.995, 2)), send("buy", 5, limit=round(price * 0.5, 2))

    twin.admin.move_clock("2025-03-03T20:59:00Z")

    touched: Any = trading.get_order_by_id(near.id)
    assert touched.status is OrderStatus.FILLED
    assert float(touched.filled_avg_price) <= round(price * 0.995, 2)
    assert status_of(trading, far) is OrderStatus.NEW


def test_a_stop_order_waits_for_its_price(trading: TradingClient) -> None:
    order: Any = trading.submit_order(
        StopOrderRequest(symbol="KELV", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, stop_price=400)
    )

    assert status_of(trading, order) is OrderStatus.NEW


def test_quantity_symbol_type_and_price_are_checked(send: Send) -> None:
    assert refused(send, "buy", 0)[:2] == (422, 42210000)
    assert refused(send, "buy", -3)[:2] == (422, 42210000)
    assert refused(send, "buy", 1, "NOPE") == (422, 42210000, 'asset "NOPE" not found')
    assert refused(send, "buy", 1, time_in_force=TimeInForce.IOC)[:2] == (422, 40010001)
    assert "sub-penny" in refused(send, "buy", 1, limit=85.123)[2]
    assert refused(send, "buy", 0.5, time_in_force=TimeInForce.GTC)[:2] == (422, 42210000)


def test_a_body_that_is_not_an_order_is_refused(twin: TwinHandle) -> None:
    for body in (
        b"{",
        b"[]",
        b"{}",
        b'{"symbol":"KELV","side":"buy","type":"market","time_in_force":"day","qty":"NaN"}',
    ):
        answer = httpx.post(f"{twin.url}/v2/orders", content=body, headers=KEYS)
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_shorts_need_whole_shares_and_a_symbol_that_can_be_borrowed(send: Send, twin: TwinHandle) -> None:
    twin.admin.rules("KYLO", shortable=False)
    twin.admin.rules("QORT", easy_to_borrow=False)

    assert refused(send, "sell", 1.5) == (422, 42210000, "fractional orders cannot be sold short")
    assert refused(send, "sell", 1, "KYLO") == (422, 42210000, 'asset "KYLO" cannot be sold short')
    assert refused(send, "sell", 1, "QORT") == (422, 42210000, 'asset "QORT" cannot be sold short')
    assert "only day orders" in refused(send, "sell", 1, "QORT", time_in_force=TimeInForce.GTC)[2]
    assert send("sell", 1, "ZORN").status is OrderStatus.PENDING_NEW


def test_buying_power_limits_longs_and_shorts(trading: TradingClient, send: Send) -> None:
    send("buy", 1000, "KELV")
    send("sell", 500, "ZORN")

    for side, symbol in (("buy", "QVEL"), ("sell", "JOVA")):
        status, code, message = refused(send, side, 1400, symbol)
        assert (status, code, message) == (403, 40310000, "insufficient buying power")
    account: Any = trading.get_account()
    assert 0 < float(account.buying_power) < 200_000 - 85_000


def test_an_open_order_reserves_buying_power(trading: TradingClient, send: Send) -> None:
    send("buy", 1000, limit=50.0)

    account: Any = trading.get_account()

    assert account.buying_power == "150000"


def test_a_long_cannot_flip_to_short_in_one_order(send: Send, trading: TradingClient) -> None:
    send("buy", 10)

    status, code, message = refused(send, "sell", 15)

    assert (status, code) == (403, 40310000)
    assert message == "insufficient qty available for order (requested: 15, available: 10)"


def test_shares_held_for_an_order_are_not_available_for_another(send: Send, trading: TradingClient) -> None:
    send("buy", 10)
    send("sell", 8, limit=400.0)

    position: Any = trading.get_open_position("KELV")

    assert (position.qty, position.qty_available) == ("10", "2")
    assert refused(send, "sell", 3, limit=401.0)[:2] == (403, 40310000)


def test_opposite_orders_in_one_symbol_are_refused_as_wash_trades(send: Send) -> None:
    send("buy", 5, limit=50.0)

    assert "wash trade" in refused(send, "sell", 5)[2]
    assert "wash trade" in refused(send, "sell", 5, limit=49.0)[2]
    assert "long buy order is open" in refused(send, "sell", 5, limit=400.0)[2]


def test_orders_are_listed_by_status_time_side_symbol_and_direction(trading: TradingClient, send: Send) -> None:
    filled = send("buy", 1, "KELV")
    resting = send("buy", 1, "KYLO", limit=20.0)
    short = send("sell", 1, "ZORN")

    def ids(**terms: Any) -> list[Any]:
        return [order.id for order in trading.get_orders(GetOrdersRequest(**terms)) if not isinstance(order, str)]

    assert ids() == [resting.id]
    assert ids(status=QueryOrderStatus.ALL) == [short.id, resting.id, filled.id]
    assert ids(status=QueryOrderStatus.ALL, direction="asc", limit=2) == [filled.id, resting.id]
    assert ids(status=QueryOrderStatus.CLOSED, side=OrderSide.SELL) == [short.id]
    assert ids(status=QueryOrderStatus.ALL, symbols=["KYLO", "ZORN"]) == [short.id, resting.id]
    assert ids(status=QueryOrderStatus.ALL, after=resting.submitted_at) == [short.id]
    assert ids(status=QueryOrderStatus.ALL, until=resting.submitted_at) == [filled.id]


def test_paging_by_time_loses_nothing_while_the_clock_stands_still(trading: TradingClient, send: Send) -> None:
    sent = [send("buy", 1, limit=20.0).id for _ in range(7)]

    seen: list[Any] = []
    after = None
    while page := trading.get_orders(
        GetOrdersRequest(status=QueryOrderStatus.ALL, direction="asc", limit=2, after=after)
    ):
        rows: list[Any] = list(page)
        seen += [order.id for order in rows]
        after = rows[-1].submitted_at

    assert seen == sent


def test_an_order_that_is_not_there_is_not_found(trading: TradingClient) -> None:
    for ask in (
        lambda: trading.get_order_by_id(uuid.uuid4()),
        lambda: trading.get_order_by_client_id("never sent"),
        lambda: trading.cancel_order_by_id(uuid.uuid4()),
    ):
        with pytest.raises(APIError) as caught:
            ask()
        assert (caught.value.status_code, caught.value.code) == (404, 40410000)


def test_a_filled_order_cannot_be_canceled_and_a_canceled_one_can_again(trading: TradingClient, send: Send) -> None:
    filled, resting = send("buy", 1, "KELV"), send("buy", 1, "KYLO", limit=20.0)

    with pytest.raises(APIError, match="already in") as caught:
        trading.cancel_order_by_id(filled.id)
    trading.cancel_order_by_id(resting.id)
    trading.cancel_order_by_id(resting.id)

    assert caught.value.code == 42210000
    assert status_of(trading, resting) is OrderStatus.CANCELED


def test_all_orders_are_canceled_at_once(trading: TradingClient, send: Send) -> None:
    orders = [send("buy", 1, symbol, limit=20.0) for symbol in ("KELV", "KYLO")]

    answers: list[Any] = list(trading.cancel_orders())

    assert [(answer.id, answer.status) for answer in answers] == [(order.id, 200) for order in orders]
    assert trading.get_orders() == []


def test_a_replaced_order_gets_a_new_id(trading: TradingClient, send: Send) -> None:
    old = send("buy", 5, limit=20.0)

    new: Any = trading.replace_order_by_id(str(old.id), ReplaceOrderRequest(qty=7, limit_price=21.0))
    before: Any = trading.get_order_by_id(old.id)

    assert (new.replaces, new.qty, new.limit_price) == (old.id, "7", "21")
    assert (before.status, before.replaced_by) == (OrderStatus.REPLACED, new.id)


def test_a_filled_order_or_an_unchanged_one_is_not_replaced(trading: TradingClient, send: Send) -> None:
    filled, resting = send("buy", 1, "KELV"), send("buy", 5, "KYLO", limit=20.0)

    for order, qty in ((filled, 2), (resting, 5)):
        with pytest.raises(APIError) as caught:
            trading.replace_order_by_id(str(order.id), ReplaceOrderRequest(qty=qty))
        assert caught.value.code == 42210000
    assert status_of(trading, resting) is OrderStatus.NEW


def test_a_test_can_have_one_side_rejected_at_once_or_later(
    trading: TradingClient, send: Send, twin: TwinHandle
) -> None:
    twin.admin.rules("KYLO", reject_side="sell", reject_code=40310000, reject_message="no borrow today")
    twin.admin.rules("ZEMA", reject_side="buy", reject_async=True)

    assert refused(send, "sell", 1, "KYLO") == (403, 40310000, "no borrow today")
    assert send("buy", 1, "KYLO").status is OrderStatus.PENDING_NEW
    late = send("buy", 1, "ZEMA")
    assert late.status is OrderStatus.PENDING_NEW
    assert status_of(trading, late) is OrderStatus.REJECTED


def test_a_leg_that_never_fills_stays_new_until_it_may(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    twin.admin.rules("KYLO", no_fill=True)
    order = send("buy", 1, "KYLO")
    twin.admin.move_clock("2025-03-03T16:00:05Z")
    stuck = status_of(trading, order)

    twin.admin.rules("KYLO", no_fill=False)
    twin.admin.move_clock("2025-03-03T16:30:05Z")

    assert (stuck, status_of(trading, order)) == (OrderStatus.NEW, OrderStatus.FILLED)


def test_a_halted_symbol_takes_no_market_order(send: Send, twin: TwinHandle) -> None:
    twin.admin.rules("KYLO", halted=True)

    assert "trading halt" in refused(send, "buy", 1, "KYLO")[2]


def test_a_queued_short_is_canceled_when_the_symbol_gets_hard_to_borrow(
    trading: TradingClient, send: Send, twin: TwinHandle
) -> None:
    twin.admin.move_clock("2025-03-03T22:00:00Z")
    order = send("sell", 5, "KYLO")
    twin.admin.rules("KYLO", easy_to_borrow=False)

    twin.admin.move_clock("2025-03-04T14:31:00Z")

    assert status_of(trading, order) is OrderStatus.CANCELED


def test_a_partial_fill_is_completed_at_the_next_bar(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    twin.admin.post("settings", partial_fill_probability=1)
    order = send("buy", 100)
    part: Any = trading.get_order_by_id(order.id)

    twin.admin.move_clock("2025-03-03T16:00:00Z")

    assert part.status is OrderStatus.PARTIALLY_FILLED
    assert 0 < float(part.filled_qty) < 100
    whole: Any = trading.get_order_by_id(order.id)
    assert (whole.status, whole.filled_qty) == (OrderStatus.FILLED, "100")
    fills: Any = trading.get("/account/activities/FILL", {"direction": "asc"})
    assert [fill["type"] for fill in fills] == ["partial_fill", "fill"]
    assert sum(float(fill["qty"]) for fill in fills) == 100
