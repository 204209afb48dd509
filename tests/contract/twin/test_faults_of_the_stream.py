"""Lies on the websocket: what frames a listener gets, and that REST has the truth."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.contract.twin.conftest import Send
from tests.contract.twin.test_faults_on_the_wire import post
from tests.fakes.twin_server import TwinHandle

WAIT = 10


@pytest.fixture
def socket(twin: TwinHandle) -> Iterator[Connection]:
    with connect(twin.stream_url) as connection:
        for message in (
            {"action": "auth", "key": "key", "secret": "secret"},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
        ):
            connection.send(json.dumps(message))
            connection.recv(timeout=WAIT)
        yield connection


def heard(socket: Connection, count: int) -> list[tuple[str, str]]:
    messages = [json.loads(socket.recv(timeout=WAIT))["data"] for _ in range(count)]
    return [(message["event"], message["order"]["symbol"]) for message in messages]


def test_a_message_may_come_twice(twin: TwinHandle, socket: Connection, send: Send) -> None:
    twin.admin.fault(kind="duplicate", endpoint="STREAM fill", copies=2)

    send("buy", 1)

    assert [event for event, _ in heard(socket, 4)] == ["new", "fill", "fill", "fill"]


def test_messages_may_change_places(twin: TwinHandle, socket: Connection, send: Send) -> None:
    twin.admin.fault(kind="reorder", endpoint="STREAM new", seconds=WAIT)

    send("buy", 1)

    assert [event for event, _ in heard(socket, 2)] == ["fill", "new"]


def test_a_message_put_off_comes_even_if_no_other_follows(twin: TwinHandle, socket: Connection, send: Send) -> None:
    twin.admin.fault(kind="reorder", endpoint="STREAM fill", seconds=0.05)

    send("buy", 1)

    assert [event for event, _ in heard(socket, 2)] == ["new", "fill"]


def test_a_message_may_be_lost(twin: TwinHandle, socket: Connection, send: Send) -> None:
    twin.admin.fault(kind="lose", endpoint="STREAM *fill", symbol="KELV")

    send("buy", 1, "KELV")
    send("buy", 1, "KYLO")

    assert heard(socket, 3) == [("new", "KELV"), ("new", "KYLO"), ("fill", "KYLO")]
    assert twin.admin.state()["counts"]["fills"] == 2


def test_a_message_may_be_malformed_in_four_ways(twin: TwinHandle, socket: Connection, send: Send) -> None:
    for nth, lie in enumerate(
        (
            {"kind": "malformed"},
            {"kind": "malformed", "form": "no_order"},
            {"kind": "unknown_event"},
            {"kind": "unknown_status", "name": "limbo"},
        ),
        start=1,
    ):
        twin.admin.fault(endpoint="STREAM fill", nth=nth, **lie)
    twin.admin.fault(kind="lose", endpoint="STREAM new")

    for _ in range(4):
        send("buy", 1)
    frames = [socket.recv(timeout=WAIT) for _ in range(4)]

    with pytest.raises(ValueError, match=r"codec|JSON|column"):
        json.loads(frames[0])
    without, event, status = (json.loads(frame)["data"] for frame in frames[1:])
    assert "order" not in without
    assert (event["event"], event["order"]["status"]) == ("bewitched", "filled")
    assert (status["event"], status["order"]["status"]) == ("fill", "limbo")


def test_the_socket_may_fall_silent_and_be_alive(twin: TwinHandle, socket: Connection, send: Send) -> None:
    twin.admin.fault(kind="silence", endpoint="STREAM fill")
    send("buy", 1, "KELV")
    send("buy", 1, "KYLO")
    socket.ping().wait(WAIT)

    twin.admin.clear_faults()
    send("buy", 1, "QVEL")

    assert heard(socket, 3) == [("new", "KELV"), ("new", "QVEL"), ("fill", "QVEL")]


def test_the_socket_may_be_closed_in_the_middle(twin: TwinHandle, socket: Connection, send: Send) -> None:
    twin.admin.fault(kind="disconnect", endpoint="STREAM fill")

    send("buy", 1)

    assert heard(socket, 1) == [("new", "KELV")]
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=WAIT)
    assert twin.admin.state()["counts"]["fills"] == 1


def test_a_message_may_come_before_the_answer_to_its_order(twin: TwinHandle, socket: Connection) -> None:
    twin.admin.fault(kind="before_http", nth=1, seconds=WAIT)
    twin.admin.fault(kind="before_http", nth=2)

    with pytest.raises(requests.ReadTimeout):
        post(twin)
    answered = post(twin, "other").status_code

    assert heard(socket, 4) == [("new", "KELV"), ("fill", "KELV")] * 2
    assert (answered, twin.admin.state()["counts"]["orders"]) == (200, 2)


def test_alpaca_pys_stream_comes_back_after_a_disconnect(twin: TwinHandle, send: Send) -> None:
    updates: queue.Queue[TradeUpdate] = queue.Queue()
    listening: queue.Queue[Any] = queue.Queue()
    stream = TradingStream("key", "secret", url_override=twin.stream_url)
    dispatch = stream._dispatch

    async def hear(update: TradeUpdate) -> None:
        updates.put(update)

    async def watch(message: dict[str, Any]) -> None:
        if message.get("stream") == "listening":
            listening.put(message)
        await dispatch(message)

    stream._dispatch = watch  # type: ignore[method-assign,assignment]
    stream.subscribe_trade_updates(hear)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        listening.get(timeout=WAIT)
        twin.admin.fault(kind="disconnect", endpoint="STREAM new", nth=1)
        send("buy", 1, "KELV")
        listening.get(timeout=WAIT)
        send("buy", 1, "KYLO")
        symbols = [updates.get(timeout=WAIT).order.symbol for _ in range(2)]
    finally:
        stream.stop()
        thread.join(WAIT)

    assert symbols == ["KYLO", "KYLO"]
