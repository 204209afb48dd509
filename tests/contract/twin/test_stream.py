from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from alpaca.trading.enums import TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream
from websockets.sync.client import connect

from tests.contract.twin.conftest import Send
from tests.fakes.twin_server import TwinHandle

WAIT = 10


@pytest.fixture
def updates(twin: TwinHandle) -> Iterator[queue.Queue[TradeUpdate]]:
    """Trade updates as alpaca-py's own stream hands them out; ready once it listens."""
    heard: queue.Queue[TradeUpdate] = queue.Queue()
    stream = TradingStream("key", "secret", url_override=twin.stream_url)

    async def hear(update: TradeUpdate) -> None:
        heard.put(update)

    listening = threading.Event()
    dispatch = stream._dispatch

    async def watch(message: dict[str, Any]) -> None:
        if message.get("stream") == "listening":
            listening.set()
        await dispatch(message)

    stream._dispatch = watch  # type: ignore[method-assign,assignment]
    stream.subscribe_trade_updates(hear)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    assert listening.wait(WAIT)
    yield heard
    stream.stop()
    thread.join(WAIT)


def hear(updates: queue.Queue[TradeUpdate], count: int) -> list[TradeUpdate]:
    return [updates.get(timeout=WAIT) for _ in range(count)]


def test_a_market_order_is_heard_as_new_and_fill(updates: queue.Queue[TradeUpdate], send: Send) -> None:
    order = send("sell", 4)

    new, fill = hear(updates, 2)

    assert (new.event, fill.event) == (TradeEvent.NEW, TradeEvent.FILL)
    assert fill.order.id == order.id
    assert (fill.qty, fill.position_qty, fill.order.filled_qty) == (4.0, -4.0, "4")
    assert fill.execution_id is not None


def test_partial_fills_cancels_expiries_and_rejections_are_heard(
    updates: queue.Queue[TradeUpdate], send: Send, twin: TwinHandle
) -> None:
    twin.admin.post("settings", partial_fill_probability=1)
    twin.admin.rules("ZEMA", reject_side="buy", reject_async=True)
    send("buy", 50)
    send("buy", 1, "ZEMA")
    twin.admin.move_clock("2025-03-03T16:00:00Z")
    send("buy", 1, "KYLO", limit=20.0)
    twin.admin.move_clock("2025-03-03T21:00:00Z")

    events = [(update.event, update.order.symbol) for update in hear(updates, 6)]

    assert events == [
        (TradeEvent.NEW, "KELV"),
        (TradeEvent.PARTIAL_FILL, "KELV"),
        (TradeEvent.REJECTED, "ZEMA"),
        (TradeEvent.FILL, "KELV"),
        (TradeEvent.NEW, "KYLO"),
        (TradeEvent.EXPIRED, "KYLO"),
    ]


def say(socket: Any, **message: Any) -> Any:
    socket.send(json.dumps(message))
    frame = socket.recv(timeout=WAIT)
    assert isinstance(frame, bytes), "the paper venue sends binary frames"
    return json.loads(frame)


def test_bad_keys_are_not_authorized(twin: TwinHandle) -> None:
    with connect(twin.stream_url) as socket:
        answer = say(socket, action="authenticate", data={"key_id": "BAD", "secret_key": "secret"})

    assert answer["data"]["status"] == "unauthorized"


def test_the_account_has_one_connection(twin: TwinHandle) -> None:
    keys = {"key": "key", "secret": "secret"}
    with connect(twin.stream_url) as first, connect(twin.stream_url) as second:
        good = say(first, action="auth", **keys)
        refused = say(second, action="auth", **keys)

    assert good["data"]["status"] == "authorized"
    assert refused["data"]["message"] == "connection limit exceeded"
