"""Every way an answer can go wrong, over a real socket: what it means depends on what was asked."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from src.shared.domain.errors import (
    DuplicateOrderId,
    InputInvalid,
    OutcomeUnknown,
    Refused,
    TradewindsError,
    Transient,
)
from src.shared.infra.alpaca.client import AlpacaClient
from tests.fakes.scripted_http import Answer, ScriptedServer, as_html, as_json
from tests.unit.alpaca.answers import ORDER, order
from tests.unit.alpaca.conftest import KEY, SECRET, client_for

ORDER_ID = ORDER["id"]

USELESS = {
    "hangs": Answer(hang=True),
    "resets": Answer(reset=True),
    "trickles for ever": Answer(trickle=True, promised_length=10_000),
    "is cut short": Answer(body=b'{"id": "', promised_length=500),
    "is truncated JSON": Answer(body=b'{"id": "61e6'),
    "is empty": Answer(),
    "is no content": Answer(204),
    "is null": Answer(body=b"null"),
    "is a list of nothing": Answer(body=b"[null]"),
    "is a number": Answer(body=b"7"),
    "is a huge number": Answer(body=b"9" * 5000),
    "is nested too deep": Answer(body=b"[" * 100_000),
    "is not UTF-8": Answer(body=b"\xff\xfe{"),
    "lacks every field": as_json({}),
    "is HTML": as_html(),
    "redirects": Answer(302, headers={"Location": "https://example.invalid/"}),
    "redirects with a JSON order": as_json(ORDER, 307, Location="/elsewhere"),
    "is 429": as_json({"code": 42910000, "message": "rate limit exceeded"}, 429),
    "is 408": as_json({"code": 40810000, "message": "request timeout"}, 408),
    "is 500": as_json({"code": 50010000, "message": "internal server error occurred"}, 500),
    "is 502 HTML": as_html(502),
    "is 503 HTML": as_html(503),
    "is 504": as_json({"message": "timeout"}, 504),
    "is 404 HTML": as_html(404),
    "is 400 without a code": as_json({"message": "bad"}, 400),
    "is 422 with a code in words": as_json({"code": "invalid", "message": "bad"}, 422),
    "is 422 with a list": as_json(["bad"], 422),
}


def submit(client: AlpacaClient) -> Any:
    return client.submit_market_order("tw-twin-1", "SPY", Decimal(10))


@pytest.mark.parametrize("answer", USELESS.values(), ids=USELESS.keys())
def test_an_order_with_no_usable_answer_is_unknown_and_was_posted_once(
    client: AlpacaClient, server: ScriptedServer, answer: Answer
) -> None:
    server.answers(answer)

    with pytest.raises(OutcomeUnknown):
        submit(client)

    assert [asked.method for asked in server.asked] == ["POST"]


@pytest.mark.parametrize("answer", USELESS.values(), ids=USELESS.keys())
def test_a_look_up_with_no_usable_answer_is_transient_and_never_means_no_order(
    client: AlpacaClient, server: ScriptedServer, answer: Answer
) -> None:
    server.answers(answer)

    with pytest.raises(Transient):
        client.order_by_client_id("tw-twin-1")

    assert [asked.method for asked in server.asked] == ["GET"]


READS = {
    "clock": lambda client: client.clock(),
    "account": lambda client: client.account(),
    "account_id": lambda client: client.account_id(),
    "positions": lambda client: client.positions(),
    "positions_in": lambda client: client.positions_in(["SPY"]),
    "open_orders": lambda client: client.open_orders(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize(
    "answer",
    [a for name, a in USELESS.items() if name != "is a list of nothing"],
    ids=[name for name in USELESS if name != "is a list of nothing"],
)
def test_a_read_with_no_usable_answer_is_transient(
    client: AlpacaClient, server: ScriptedServer, answer: Answer, read: Any
) -> None:
    server.answers(answer)

    with pytest.raises(Transient):
        read(client)


DAY = date(2025, 3, 3)
MOMENT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)

CALLS: dict[str, Callable[[AlpacaClient], Any]] = {
    **READS,
    "assets": lambda client: client.assets(["SPY"]),
    "submit_market_order": submit,
    "order_by_client_id": lambda client: client.order_by_client_id("tw-twin-1", urgent=True),
    "orders_since": lambda client: client.orders_since(MOMENT),
    "cancel_order": lambda client: client.cancel_order(ORDER_ID),
    "fills_since": lambda client: client.fills_since(MOMENT),
    "account_activities": lambda client: client.account_activities(["DIV"], MOMENT),
    "corporate_actions": lambda client: client.corporate_actions(["SPY"], DAY, DAY),
    "bars": lambda client: client.bars(["SPY"], MOMENT, MOMENT + timedelta(hours=1)),
    "bar_history": lambda client: list(client.bar_history("SPY", MOMENT, MOMENT + timedelta(hours=1), "1Day", "raw")),
    "latest_quotes": lambda client: client.latest_quotes(["SPY"]),
}
"""Every request that the client can make."""


def test_all_requests_are_among_those_that_are_tried_here() -> None:
    public = {name for name in vars(AlpacaClient) if not name.startswith("_")}

    assert {*CALLS} == public - {"take_quarantined"}


@pytest.mark.parametrize("how", ["hangs", "trickles for ever", "resets", "is 429", "is 500", "is 504"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_no_request_outlasts_its_time_out_or_is_repeated(
    client: AlpacaClient, server: ScriptedServer, call: Callable[[AlpacaClient], Any], how: str
) -> None:
    server.answers(USELESS[how])

    with pytest.raises((Transient, OutcomeUnknown)):
        call(client)

    assert len(server.asked) == 1


UNUSABLE_FOR_CANCEL = ["hangs", "resets", "is HTML", "redirects", "is 429", "is 500", "is 502 HTML", "is 404 HTML"]


@pytest.mark.parametrize("name", UNUSABLE_FOR_CANCEL)
def test_a_cancel_with_no_usable_answer_is_unknown(client: AlpacaClient, server: ScriptedServer, name: str) -> None:
    server.answers(USELESS[name])

    with pytest.raises(OutcomeUnknown):
        client.cancel_order(ORDER_ID)


def free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_refused_connection_leaves_an_order_unknown_and_a_read_transient() -> None:
    client = client_for(free_url())

    with pytest.raises(OutcomeUnknown):
        submit(client)
    with pytest.raises(Transient):
        client.clock()


REFUSALS = [
    (403, 40310000, "insufficient buying power"),
    (404, 40410000, "asset not found"),
    (422, 40010001, "qty must be greater than 0"),
    (422, 40010001, "client_order_id must be no more than 128 characters"),
    (422, 42210000, 'asset "X" cannot be sold short'),
    (400, 40010000, "bad request"),
]


@pytest.mark.parametrize(("status", "code", "message"), REFUSALS)
def test_an_order_refused_with_a_code_is_refused_with_that_code(
    client: AlpacaClient, server: ScriptedServer, status: int, code: int, message: str
) -> None:
    server.answers(as_json({"code": code, "message": message}, status))

    with pytest.raises(Refused) as caught:
        submit(client)

    assert type(caught.value) is Refused
    assert caught.value.code == str(code)
    assert message in str(caught.value)


def test_an_order_id_used_before_is_told_apart_from_other_validation_errors(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json({"code": 40010001, "message": "client_order_id must be unique"}, 422))

    with pytest.raises(DuplicateOrderId):
        submit(client)


def test_keys_that_are_not_accepted_refuse_an_order_even_without_a_code(
    client: AlpacaClient, server: ScriptedServer
) -> None:
    server.answers(as_json({"message": "forbidden."}, 403))

    with pytest.raises(Refused) as caught:
        submit(client)

    assert caught.value.code == "403"


@pytest.mark.parametrize("answer", [as_json({"message": "unauthorized."}, 401), as_html(401), as_html(403)])
def test_keys_that_are_not_accepted_name_the_settings_to_correct(
    client: AlpacaClient, server: ScriptedServer, answer: Answer
) -> None:
    server.answers(answer)

    with pytest.raises(Refused, match="TRADEWINDS_ALPACA_API_KEY"):
        client.account()


def test_a_plan_that_lacks_the_feed_names_the_feed_setting(client: AlpacaClient, server: ScriptedServer) -> None:
    message = "subscription does not permit querying recent SIP data"
    server.answers(as_json({"code": 42210000, "message": message}, 403))

    with pytest.raises(Refused, match="TRADEWINDS_ALPACA_FEED"):
        client.latest_quotes(["SPY"])


def test_an_order_the_broker_does_not_have_is_none(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json({"code": 40410000, "message": "order not found for tw-twin-1"}, 404))

    assert client.order_by_client_id("tw-twin-1") is None


def test_an_unknown_path_does_not_prove_that_there_is_no_order(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json({"code": 40410000, "message": "endpoint not found."}, 404))

    with pytest.raises(Refused):
        client.order_by_client_id("tw-twin-1")


def test_a_cancel_that_comes_too_late_is_refused(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json({"code": 42210000, "message": 'order is already in "filled" state'}, 422))

    with pytest.raises(Refused) as caught:
        client.cancel_order(ORDER_ID)

    assert caught.value.code == "42210000"


def test_an_answer_about_another_order_is_not_taken_for_ours(client: AlpacaClient, server: ScriptedServer) -> None:
    server.answers(as_json(order(client_order_id="tw-twin-2")))

    with pytest.raises(OutcomeUnknown):
        submit(client)
    with pytest.raises(Transient):
        client.order_by_client_id("tw-twin-1")


@pytest.mark.parametrize("symbol", ["../orders", "A/B", "", "spy", "A'; DROP TABLE", "<script>", "SPY?x=1", "SPY\n"])
def test_what_is_not_a_symbol_never_reaches_a_url(client: AlpacaClient, server: ScriptedServer, symbol: str) -> None:
    server.answers(as_json({}))

    for ask in (
        lambda: client.assets([symbol]),
        lambda: client.latest_quotes([symbol]),
        lambda: client.submit_market_order("tw-twin-1", symbol, Decimal(1)),
        lambda: client.cancel_order(symbol),
    ):
        with pytest.raises(InputInvalid):
            ask()

    assert server.asked == []


@pytest.mark.parametrize("quantity", ["0", "NaN", "Infinity", "0.12345678901234567890123"])
def test_a_quantity_that_can_not_be_sent_exactly_is_not_sent(
    client: AlpacaClient, server: ScriptedServer, quantity: str
) -> None:
    with pytest.raises(InputInvalid):
        client.submit_market_order("tw-twin-1", "SPY", Decimal(quantity))

    assert server.asked == []


@pytest.mark.parametrize("status", [302, 401, 422, 500])
def test_keys_never_show_in_an_error_or_its_traceback(
    client: AlpacaClient, server: ScriptedServer, status: int
) -> None:
    server.answers(as_json({"message": f"bad key {KEY} {SECRET}"}, status))

    try:
        submit(client)
    except TradewindsError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(client) + repr(vars(client))

    assert KEY not in shown
    assert SECRET not in shown
