"""The hardened client against the twin, over HTTP: what the venue does is what the client reports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr

from src.shared.domain.errors import DuplicateOrderId, Refused, Transient
from src.shared.domain.orders import OrderReport
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.rate_limit import MinuteLimiter
from tests.fakes.twin_server import TwinHandle, running_twin

START = datetime(2025, 3, 3, 15, 30, 5, tzinfo=UTC)
PATIENCE_SECONDS = 5.0
FIRST, SECOND = "KELV", "KYLO"


@pytest.fixture(scope="module")
def twin() -> Iterator[TwinHandle]:
    with running_twin(clock=START.isoformat()) as running:
        yield running


@pytest.fixture
def client(twin: TwinHandle) -> AlpacaClient:
    twin.admin.reset()
    twin.admin.post("rules", reset=True)
    twin.admin.move_clock(START.isoformat(), reset=True)
    return client_for(twin.url)


def client_for(url: str) -> AlpacaClient:
    endpoints = Endpoints(url, url, SecretStr("TWIN"), SecretStr("twin"), 1.0, 5.0)
    return AlpacaClient(endpoints, MinuteLimiter(10_000))


def eventually(client: AlpacaClient, client_order_id: str, status: str) -> OrderReport:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        report = client.order_by_client_id(client_order_id)
        if report is not None and report.status == status:
            return report
        assert time.monotonic() < deadline, report
        time.sleep(0.01)


def test_the_clock_and_the_account_are_readable(client: AlpacaClient) -> None:
    clock, account = client.clock(), client.account()

    assert clock.is_open
    assert START - timedelta(seconds=1) <= clock.now < clock.next_close < clock.next_open
    assert account.equity == Decimal(100_000)
    assert not account.trading_blocked


def test_a_short_sale_is_accepted_filled_and_held(client: AlpacaClient, twin: TwinHandle) -> None:
    placed = client.submit_market_order("tw-twin-a-1", FIRST, Decimal(-7))
    twin.admin.move_clock((START + timedelta(minutes=1)).isoformat())
    report = eventually(client, "tw-twin-a-1", "filled")

    assert report.broker_order_id == placed.broker_order_id
    assert (report.quantity, report.filled_quantity) == (Decimal(-7), Decimal(-7))
    fills = client.fills_since(START - timedelta(days=1))
    assert [(fill.symbol, fill.quantity) for fill in fills] == [(FIRST, Decimal(-7))]
    assert fills[0].broker_order_id == placed.broker_order_id
    assert fills[0].price == report.filled_avg_price
    (held,) = client.positions()
    assert (held.symbol, held.quantity) == (FIRST, Decimal(-7))
    assert client.open_orders() == []
    assert [order.client_order_id for order in client.orders_since(START - timedelta(days=1))] == ["tw-twin-a-1"]
    assert client.take_quarantined() == []


def test_the_same_order_id_twice_places_one_order(client: AlpacaClient) -> None:
    client.submit_market_order("tw-twin-b-1", FIRST, Decimal(1))

    with pytest.raises(DuplicateOrderId):
        client.submit_market_order("tw-twin-b-1", FIRST, Decimal(1))

    assert len(client.orders_since(START - timedelta(days=1))) == 1


def test_an_order_that_rests_can_be_cancelled_and_a_finished_one_can_not(
    client: AlpacaClient, twin: TwinHandle
) -> None:
    twin.admin.rules(FIRST, no_fill=True)
    placed = client.submit_market_order("tw-twin-c-1", FIRST, Decimal(1))
    assert [order.client_order_id for order in client.open_orders()] == ["tw-twin-c-1"]

    client.cancel_order(placed.broker_order_id)
    twin.admin.move_clock((START + timedelta(minutes=1)).isoformat())
    eventually(client, "tw-twin-c-1", "canceled")
    with pytest.raises(Refused):
        client.cancel_order("00000000-0000-4000-8000-000000000000")

    assert client.open_orders() == []


def test_a_symbol_that_can_not_be_sold_short_is_refused_with_the_venues_code(
    client: AlpacaClient, twin: TwinHandle
) -> None:
    twin.admin.rules(FIRST, shortable=False)

    assert not client.assets([FIRST])[FIRST].shortable
    with pytest.raises(Refused) as caught:
        client.submit_market_order("tw-twin-d-1", FIRST, Decimal(-1))

    assert caught.value.code == "42210000"
    assert client.order_by_client_id("tw-twin-d-1") is None


def test_assets_are_known_singly_and_in_the_list(client: AlpacaClient, twin: TwinHandle) -> None:
    known = client.assets([FIRST, SECOND, "NOSUCH"])
    in_list = client_for(twin.url).assets([FIRST, SECOND, *(f"NOSUCH{i}" for i in range(10))])

    assert set(known) == {FIRST, SECOND}
    assert in_list == known


def test_half_hour_bars_of_several_symbols_and_quotes_are_readable(client: AlpacaClient) -> None:
    start = datetime(2025, 2, 28, 14, 30, tzinfo=UTC)
    bars = client.bars([FIRST, SECOND], start, start + timedelta(hours=6, minutes=30))

    for symbol in (FIRST, SECOND):
        assert [bar.start for bar in bars[symbol]] == [start + i * timedelta(minutes=30) for i in range(13)]
        assert all(0 < bar.low <= bar.close <= bar.high for bar in bars[symbol])
    quotes = client.latest_quotes([FIRST, SECOND])
    assert all(0 < quote.bid < quote.ask for quote in quotes.values())
    assert set(quotes) == {FIRST, SECOND}


def test_the_venues_rate_limit_is_transient_for_reads(client: AlpacaClient, twin: TwinHandle) -> None:
    twin.admin.post("settings", requests_per_minute=1)
    try:
        with pytest.raises(Transient):
            for _ in range(5):
                client.clock()
    finally:
        twin.admin.post("settings", requests_per_minute=0)


def test_corporate_actions_and_what_they_did_to_the_account_are_readable(
    client: AlpacaClient, twin: TwinHandle
) -> None:
    client.submit_market_order("actions-1", FIRST, Decimal(25))
    client.submit_market_order("actions-2", SECOND, Decimal(-4))
    scripts: list[dict[str, object]] = [
        {"type": "reverse_split", "symbol": FIRST, "old_rate": 10, "new_rate": 1},
        {"type": "cash_dividend", "symbol": SECOND, "rate": "0.25"},
        {"type": "name_change", "symbol": "ZORN", "new_symbol": "ZORX"},
        {"type": "cash_merger", "symbol": "VUNO", "rate": "12.5"},
        {"type": "delisting", "symbol": "XULA"},
    ]
    for script in scripts:
        twin.admin.post("corporate-actions", ex_date="2025-03-04", **script)
    twin.admin.post("cash", amount="-250.25")

    announced = client.corporate_actions([FIRST, SECOND, "ZORN", "VUNO", "XULA"], date(2025, 3, 1), date(2025, 3, 7))
    twin.admin.move_clock("2025-03-04T14:30:05Z")
    happened = client.account_activities([], START - timedelta(days=1))
    cash_flows = client.account_activities(["CSD", "CSW"], START - timedelta(days=1))

    assert {(a.kind.value, a.symbol, a.old_rate, a.new_rate, a.cash_per_share, a.new_symbol) for a in announced} == {
        ("split", FIRST, Decimal(10), Decimal(1), Decimal(0), None),
        ("cash_dividend", SECOND, Decimal(1), Decimal(1), Decimal("0.25"), None),
        ("symbol_change", "ZORN", Decimal(1), Decimal(1), Decimal(0), "ZORX"),
        ("cash_merger", "VUNO", Decimal(1), Decimal(1), Decimal("12.5"), None),
        ("removal", "XULA", Decimal(1), Decimal(1), Decimal(0), None),
    }
    assert {a.ex_date for a in announced} == {date(2025, 3, 4)}
    by_kind = {a.kind: a for a in happened}
    assert set(by_kind) == {"CSW", "SPLIT", "CIL", "DIV"}
    assert by_kind["SPLIT"].quantity == Decimal("-22.5")
    assert (by_kind["CIL"].symbol, by_kind["CIL"].quantity) == (FIRST, Decimal("-0.5"))
    assert by_kind["DIV"].net_amount == Decimal(-1)
    assert [(a.kind, a.net_amount) for a in cash_flows] == [("CSW", Decimal("-250.25"))]
    assert [row.kind for row in client.take_quarantined()] == []
