from __future__ import annotations

from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import PositionSide
from alpaca.trading.models import Position
from alpaca.trading.requests import ClosePositionRequest

from tests.contract.twin.conftest import Send
from tests.fakes.twin_server import TwinHandle


def test_positions_are_signed_and_carry_their_average_entry(trading: TradingClient, send: Send) -> None:
    send("buy", 10, "KELV")
    send("sell", 4, "ZORN")

    long, short = (position for position in trading.get_all_positions() if isinstance(position, Position))

    assert (long.symbol, long.qty, long.side) == ("KELV", "10", PositionSide.LONG)
    assert (short.symbol, short.qty, short.side) == ("ZORN", "-4", PositionSide.SHORT)
    assert float(short.cost_basis) == pytest.approx(-4 * float(short.avg_entry_price))


def test_the_average_entry_moves_with_additions_only(trading: TradingClient, send: Send, twin: TwinHandle) -> None:
    orders = [send("buy", 10)]
    twin.admin.move_clock("2025-03-04T15:30:05Z")
    orders += [send("buy", 10), send("sell", 5)]

    position: Any = trading.get_open_position("KELV")

    fills: list[Any] = [trading.get_order_by_id(order.id) for order in orders]
    paid = [float(fill.filled_avg_price) for fill in fills]
    assert float(position.avg_entry_price) == pytest.approx((paid[0] + paid[1]) / 2)
    assert position.qty == "15"


def test_a_position_is_closed_in_part_by_percentage_and_whole(trading: TradingClient, send: Send) -> None:
    send("buy", 10)

    trading.close_position("KELV", ClosePositionRequest(qty="2"))
    trading.close_position("KELV", ClosePositionRequest(percentage="50"))
    left: Any = trading.get_open_position("KELV")
    trading.close_position("KELV")

    assert left.qty == "4"
    with pytest.raises(APIError) as caught:
        trading.get_open_position("KELV")
    assert (caught.value.status_code, caught.value.message) == (404, "position does not exist")


def rows(answer: Any) -> list[Any]:
    return list(answer)


def test_all_positions_are_closed_at_once_unless_an_order_holds_them(trading: TradingClient, send: Send) -> None:
    send("buy", 10, "KELV")
    send("sell", 4, "ZORN")
    send("sell", 10, "KELV", limit=400.0)

    held, closed = rows(trading.close_all_positions(cancel_orders=False))
    again = rows(trading.close_all_positions(cancel_orders=True))

    assert (held.symbol, held.status) == ("KELV", 403)
    assert (closed.symbol, closed.status) == ("ZORN", 200)
    assert [row.status for row in again] == [200]
    assert trading.get_all_positions() == []


def test_cash_is_what_the_fills_paid(trading: TradingClient, send: Send) -> None:
    send("buy", 10)
    send("sell", 3, "ZORN")

    fills: Any = trading.get("/account/activities/FILL")
    account: Any = trading.get_account()

    flow = sum(float(f["price"]) * float(f["qty"]) * (-1 if f["side"] == "buy" else 1) for f in fills)
    assert float(account.cash) == pytest.approx(100_000 + flow, abs=0.01)


def test_fills_are_paged_by_the_last_id_in_both_directions(trading: TradingClient, send: Send) -> None:
    orders = [str(send("buy", 1).id) for _ in range(5)]

    def paged(direction: str) -> list[str]:
        seen: list[Any] = []
        while True:
            terms = {"page_size": 2, "direction": direction} | ({"page_token": seen[-1]["id"]} if seen else {})
            page: Any = trading.get("/account/activities/FILL", terms)
            if not page:
                return [fill["order_id"] for fill in seen]
            seen += page

    assert paged("asc") == orders
    assert paged("desc") == orders[::-1]


def test_fills_are_found_by_time_and_day_and_other_activities_are_none(
    trading: TradingClient, send: Send, twin: TwinHandle
) -> None:
    send("buy", 1)
    twin.admin.move_clock("2025-03-04T15:30:05Z")
    send("sell", 1)

    def sides(path: str, **terms: str) -> list[str]:
        rows: Any = trading.get(path, terms)
        return [row["side"] for row in rows]

    assert sides("/account/activities", after="2025-03-04T00:00:00Z") == ["sell"]
    assert sides("/account/activities/FILL", date="2025-03-03") == ["buy"]
    assert sides("/account/activities", activity_types="DIV") == []
    assert sides("/account/activities/FILL") == ["sell", "buy"]


def test_opening_a_short_is_reported_as_sell_short(trading: TradingClient, send: Send) -> None:
    send("sell", 2)
    send("buy", 2)

    fills: Any = trading.get("/account/activities/FILL", {"direction": "asc"})

    assert [fill["side"] for fill in fills] == ["sell_short", "buy"]
