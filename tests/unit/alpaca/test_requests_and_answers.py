"""What is sent, and how answers are read, over a real socket."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.errors import OutcomeUnknown, Transient
from src.shared.domain.orders import PositionReport
from src.shared.domain.vendor_data import VendorBar
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.paging import ACTIVITIES_PER_PAGE, ORDERS_PER_PAGE
from tests.fakes.scripted_http import ScriptedServer, as_json
from tests.unit.alpaca.answers import CLOCK, ORDER, asset, fill, order, position
from tests.unit.alpaca.conftest import KEY, SECRET

NOON = datetime(2026, 3, 16, 16, tzinfo=UTC)
NOT_FOUND = as_json({"code": 40410000, "message": "asset not found for X"}, 404)


def test_an_order_is_a_day_market_order_with_our_id_and_its_report_has_signed_shares(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json(order(side="sell", filled_qty="4", filled_avg_price="510.5", status="held_by_moon")))

    report = client.submit_market_order("tw-twin-1", "SPY", Decimal(-10))

    sent = server.asked[0].body
    assert (sent["symbol"], sent["qty"], sent["side"], sent["type"]) == ("SPY", 10, "sell", "market")
    assert (sent["time_in_force"], sent["client_order_id"]) == ("day", "tw-twin-1")
    assert (report.quantity, report.filled_quantity) == (Decimal(-10), Decimal(-4))
    assert report.filled_avg_price == Decimal("510.5")
    assert report.status == "held_by_moon"
    assert report.created_at == datetime(2026, 3, 16, 18, 38, 1, 942282, tzinfo=UTC)


def test_a_sell_short_fill_is_a_sale(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json([fill(side="sell_short")]))

    assert [report.quantity for report in client.fills_since(NOON)] == [Decimal(-10)]
    assert server.asked[0].path == "/v2/account/activities/FILL"
    assert server.asked[0].query["after"] == NOON.isoformat()


SPOILT_ORDERS: list[Any] = [
    None,
    "order",
    [],
    {},
    order(side="hold"),
    order(qty="NaN"),
    order(qty="1e400"),
    order(qty=True),
    order(filled_qty="-1"),
    order(status=None),
    order(created_at="yesterday"),
    order(created_at="2026-03-16T18:38:01"),
    order(symbol="../orders"),
    order(client_order_id=None),
]


@pytest.mark.parametrize("spoilt", SPOILT_ORDERS)
def test_one_unreadable_order_is_set_aside_and_the_rest_is_read(
    client: AlpacaClient, server: ScriptedServer, spoilt: Any
) -> None:
    server.answers(as_json([order(id="1"), spoilt, order(id="3", a_new_field={"x": 1})]))

    reports = client.open_orders()

    assert [report.broker_order_id for report in reports] == ["1", "3"]
    (aside,) = client.take_quarantined()
    assert aside.kind == "order"
    assert aside.reason
    assert client.take_quarantined() == []


def test_orders_of_other_asset_classes_are_left_out(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json([order(asset_class="crypto", symbol="BTC/USD"), order()]))

    assert [report.symbol for report in client.open_orders()] == ["SPY"]
    assert client.take_quarantined() == []


@pytest.mark.parametrize(
    ("qty", "side", "expected"), [("-5", "short", -5), ("5", "short", -5), ("5", "long", 5), ("0.5", "long", 0.5)]
)
def test_a_position_has_signed_shares(
    client: AlpacaClient, server: ScriptedServer, qty: str, side: str, expected: float
) -> None:
    server.answers(as_json([position(qty=qty, side=side)]))

    assert client.positions() == [PositionReport("QQQ", Decimal(str(expected)))]


def test_a_position_whose_side_and_quantity_contradict_is_set_aside(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json([position(qty="-5", side="long")]))

    assert client.positions() == []
    assert len(client.take_quarantined()) == 1


@pytest.mark.parametrize("without", ["avg_entry_price", "cost_basis", "current_price", "exchange"])
def test_a_position_is_read_without_what_is_only_shown(
    client: AlpacaClient, server: ScriptedServer, without: str
) -> None:
    server.answers(as_json([position(**{without: None})]))

    assert client.positions_in(["QQQ"]) == [PositionReport("QQQ", Decimal(-5))]
    assert client.take_quarantined() == []


@pytest.mark.parametrize("spoilt", [None, "position", [], {}, position(symbol=None), position(symbol=" ")])
def test_a_row_that_does_not_say_which_stock_it_is_about_may_be_about_any(
    client: AlpacaClient, server: ScriptedServer, spoilt: Any
) -> None:
    server.answers(as_json([position(), spoilt]))

    with pytest.raises(Transient, match="position in some symbol can't be read"):
        client.positions_in(["SPY"])

    assert len(client.take_quarantined()) == 1


def test_a_row_about_what_is_no_stock_leaves_the_others_as_they_are(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json([position(), position(symbol="912CVR013"), position(symbol="spy")]))

    assert client.positions_in(["QQQ"]) == [PositionReport("QQQ", Decimal(-5))]
    assert len(client.take_quarantined()) == 2


def test_a_row_that_writes_its_symbol_another_way_is_about_it_all_the_same(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json([position(), position(symbol="spy")]))

    with pytest.raises(Transient, match="position in SPY can't be read"):
        client.positions_in(["SPY"])


def test_a_row_that_names_our_keys_is_told_of_without_them(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json([position(side=KEY)]), as_json(order(side=SECRET)))

    with pytest.raises(Transient, match=r"position in QQQ can't be read: side '\*\*\*'"):
        client.positions_in(["QQQ"])
    with pytest.raises(Transient, match=r"order can't be read: side '\*\*\*'"):
        client.order_by_client_id("tw-twin-1")


def test_a_position_in_another_asset_class_is_about_no_stock(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json([position(asset_class="crypto", symbol="BTC/USD", qty=None), position()]))

    assert [report.symbol for report in client.positions_in(["QQQ"])] == ["QQQ"]
    assert client.take_quarantined() == []


def test_the_clock_is_utc(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json(CLOCK))

    clock = client.clock()

    assert clock.now == datetime(2026, 3, 16, 18, 38, 2, 123456, tzinfo=UTC)
    assert clock.now.tzinfo is UTC


def minute(count: int) -> str:
    return (NOON + timedelta(minutes=count)).isoformat()


def test_orders_are_read_page_by_page_without_losing_any_on_the_border(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    rows = [order(id=str(i), submitted_at=minute(min(i, 499)), created_at=minute(i)) for i in range(502)]
    server.answers(as_json(rows[:ORDERS_PER_PAGE]), as_json(rows[ORDERS_PER_PAGE - 1 :]))

    reports = client.orders_since(NOON)

    assert [report.broker_order_id for report in reports] == [str(i) for i in range(502)]
    first, second = server.asked
    assert (first.query["status"], first.query["limit"], first.query["direction"]) == ("all", "500", "asc")
    assert datetime.fromisoformat(second.query["after"]) < datetime.fromisoformat(minute(499))


def test_a_server_that_repeats_a_page_of_orders_is_not_followed_for_ever(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json([order(id=str(i)) for i in range(ORDERS_PER_PAGE)]))

    with pytest.raises(Transient):
        client.orders_since(NOON)


def test_fills_are_read_page_by_page_with_the_last_id_as_token(client: AlpacaClient, server: ScriptedServer) -> None:
    rows = [fill(id=f"f{i:03}", transaction_time=minute(i)) for i in range(ACTIVITIES_PER_PAGE + 1)]
    server.answers(as_json(rows[:ACTIVITIES_PER_PAGE]), as_json(rows[ACTIVITIES_PER_PAGE:]))

    assert len(client.fills_since(NOON)) == ACTIVITIES_PER_PAGE + 1
    assert [asked.query.get("page_token") for asked in server.asked] == [None, "f099"]


def test_a_server_that_ignores_the_token_of_fills_is_not_followed_for_ever(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json([fill(id=f"f{i:03}") for i in range(ACTIVITIES_PER_PAGE)]))

    with pytest.raises(Transient):
        client.fills_since(NOON)


def bar(start: datetime, close: Any = 10.0) -> dict[str, Any]:
    return {"t": start.isoformat(), "o": 10.0, "h": 11.0, "l": 9.0, "c": close, "v": 100, "n": 3, "vw": 10.1}


def test_bars_are_read_per_symbol_over_all_pages_oldest_first_within_the_window(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    half = timedelta(minutes=30)
    end = NOON + 2 * half
    server.answers(
        as_json({"bars": {"SPY": [bar(NOON + half), bar(NOON)]}, "next_page_token": "p2"}),
        as_json({"bars": {"QQQ": [bar(NOON), bar(end)], "SPY": []}, "next_page_token": None}),
    )

    bars = client.bars(["SPY", "QQQ", "XLK"], NOON, end)

    assert [b.start for b in bars["SPY"]] == [NOON, NOON + half]
    assert bars["QQQ"] == [VendorBar("QQQ", NOON, 10.0, 11.0, 9.0, 10.0, 100.0)]
    assert bars["XLK"] == []
    query = server.asked[0].query
    assert (query["symbols"], query["timeframe"], query["adjustment"]) == ("SPY,QQQ,XLK", "30Min", "split")
    assert (query["feed"], query["sort"], query["limit"]) == ("iex", "asc", "10000")
    assert server.asked[1].query["page_token"] == "p2"


def test_a_price_that_is_no_number_becomes_nan_for_the_gate_to_reject(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json({"bars": {"SPY": [bar(NOON, None), bar(NOON, "x"), bar(NOON, float("nan")), {}]}}))

    bars = client.bars(["SPY"], NOON, NOON + timedelta(hours=1))["SPY"]

    assert all(b.close != b.close for b in bars)
    assert len(bars) == 3
    assert len(client.take_quarantined()) == 1


def test_a_server_that_echoes_the_page_token_is_not_followed_for_ever(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json({"bars": {"SPY": [bar(NOON)]}, "next_page_token": "same"}))

    with pytest.raises(Transient):
        client.bars(["SPY"], NOON, NOON + timedelta(hours=1))

    assert len(server.asked) == 2


@pytest.mark.parametrize("answer", [{}, {"bars": []}, {"bars": "x"}, [], {"error": "x"}])
def test_bars_without_the_object_bars_are_not_taken_for_no_bars(
    client: AlpacaClient, server: ScriptedServer, answer: Any
) -> None:
    server.answers(as_json(answer))

    with pytest.raises(Transient):
        client.bars(["SPY"], NOON, NOON + timedelta(hours=1))


def test_a_symbol_without_a_quote_is_absent(client: AlpacaClient, server: ScriptedServer) -> None:
    good = {"t": NOON.isoformat(), "ap": 10.5, "as": 2, "bp": 10.25, "bs": 1, "ax": "V", "bx": "V", "c": ["R"]}
    server.answers(as_json({"quotes": {"SPY": good, "QQQ": None}}))

    quotes = client.latest_quotes(["SPY", "QQQ", "XLK"])

    assert set(quotes) == {"SPY"}
    assert (quotes["SPY"].bid, quotes["SPY"].ask) == (Decimal("10.25"), Decimal("10.5"))


def test_a_few_assets_are_asked_for_one_by_one_and_remembered(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json(asset()), NOT_FOUND)

    assert set(client.assets(["SPY", "NOPE"])) == {"SPY"}
    assert set(client.assets(["NOPE", "SPY"])) == {"SPY"}

    assert [asked.path for asked in server.asked] == ["/v2/assets/SPY", "/v2/assets/NOPE"]


def test_many_assets_are_asked_for_in_one_list(client: AlpacaClient, server: ScriptedServer) -> None:
    symbols = [f"S{i}" for i in range(20)]
    server.answers(as_json([asset(symbol=symbol) for symbol in symbols[1:]]))

    assert set(client.assets(symbols)) == set(symbols[1:])
    assert len(server.asked) == 1
    assert server.asked[0].query == {"status": "active", "asset_class": "us_equity"}


def test_an_asset_that_is_not_active_can_not_be_traded(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json(asset(status="inactive")))

    report = client.assets(["SPY"])["SPY"]

    assert not (report.tradable or report.shortable or report.easy_to_borrow)


def test_after_429_entries_and_reads_wait_for_the_reset_while_exits_may_go(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    refused = as_json({"code": 42910000, "message": "rate limit exceeded"}, 429)
    server.answers(refused, as_json(ORDER))
    with pytest.raises(Transient):
        client.latest_quotes(["SPY"])

    with pytest.raises(Transient, match="nothing was sent"):
        client.latest_quotes(["SPY"])
    with pytest.raises(OutcomeUnknown, match="nothing was sent"):
        client.submit_market_order("tw-twin-1", "SPY", Decimal(10))
    client.submit_market_order("tw-twin-1", "SPY", Decimal(10), urgent=True)

    assert [asked.method for asked in server.asked] == ["GET", "POST"]


SPLIT = {
    "id": "a1",
    "symbol": "SPY",
    "old_rate": 1,
    "new_rate": 3,
    "ex_date": "2025-03-04",
    "process_date": "2025-03-04",
}
WINDOW = (date(2025, 3, 1), date(2025, 3, 9))


def test_corporate_actions_are_read_over_all_pages_and_what_is_unreadable_is_set_aside(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    page = {"forward_splits": [SPLIT, {**SPLIT, "id": "a2", "new_rate": 0}], "cash_dividends": None}
    new = {"id": "a3", "source_symbol": "SPY", "new_symbol": "SPX", "ex_date": "2025-03-05"}
    server.answers(
        as_json({"corporate_actions": page, "next_page_token": "p2"}),
        as_json({"corporate_actions": {"spin_offs": [new]}, "next_page_token": None}),
    )

    split, other = client.corporate_actions(["SPY"], *WINDOW)

    assert server.asked[0].path == "/v1/corporate-actions"
    assert (split.kind, split.old_rate, split.new_rate) == (CorporateActionKind.SPLIT, Decimal(1), Decimal(3))
    assert (other.kind, other.vendor_type, other.symbol) == (CorporateActionKind.OTHER, "spin_off", "SPY")
    assert [row.kind for row in client.take_quarantined()] == ["corporate action"]


def test_a_stock_dividend_is_a_split(client: AlpacaClient, server: ScriptedServer) -> None:
    row = {"id": "a1", "symbol": "SPY", "rate": 0.05, "ex_date": "2025-03-04"}
    server.answers(as_json({"corporate_actions": {"stock_dividends": [row]}, "next_page_token": None}))

    (action,) = client.corporate_actions(["SPY"], *WINDOW)

    assert (action.kind, action.old_rate, action.new_rate) == (CorporateActionKind.SPLIT, Decimal(1), Decimal("1.05"))


def test_an_answer_without_actions_is_not_taken_for_no_actions(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json({"message": "x"}))

    with pytest.raises(Transient):
        client.corporate_actions(["SPY"], *WINDOW)


def test_activities_without_a_trade_are_read_and_one_without_an_amount_is_set_aside(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    paid = {"id": "1", "activity_type": "DIV", "date": "2025-03-04", "net_amount": "-2.5", "symbol": "SPY", "qty": ""}
    server.answers(as_json([paid, {**paid, "id": "2", "net_amount": None}]))

    (activity,) = client.account_activities(["DIV", "CSD"], NOON)

    assert server.asked[0].query["activity_types"] == "DIV,CSD"
    assert (activity.net_amount, activity.symbol, activity.quantity) == (Decimal("-2.5"), "SPY", None)
    assert [row.kind for row in client.take_quarantined()] == ["activity"]
