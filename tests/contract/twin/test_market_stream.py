"""The websocket of market data, heard by alpaca-py's own client and by ours."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from alpaca.data.live.stock import StockDataStream
from alpaca.data.models.trades import Trade
from pydantic import SecretStr

from src.services.strategy_engine.adapters.tick_stream import TickStream
from src.shared.domain.errors import EnvironmentMismatch, Transient
from src.shared.domain.ticks import Tick
from tests.fakes.twin_server import TwinHandle
from tests.polling import eventually

WAIT = 10
NEXT_HOUR = "2025-03-03T16:30:05Z"
CLOSED = "2025-03-03T22:00:00Z"


def url(twin: TwinHandle) -> str:
    return f"{twin.url.replace('http', 'ws', 1)}/v2/iex"


def ours(twin: TwinHandle, key: str = "key") -> TickStream:
    return TickStream(url(twin), (SecretStr(key), SecretStr("secret")), 5)


@contextmanager
def alpacas(twin: TwinHandle, *symbols: str) -> Iterator[queue.Queue[Trade]]:
    heard: queue.Queue[Trade] = queue.Queue()
    stream = StockDataStream("key", "secret", url_override=url(twin))

    async def hear(trade: object) -> None:
        assert isinstance(trade, Trade)
        heard.put(trade)

    stream.subscribe_trades(hear, *symbols)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stream.stop()
        thread.join(WAIT)
        assert not thread.is_alive()


def test_alpaca_py_hears_the_trades_of_its_symbols_as_prices_move(twin: TwinHandle) -> None:
    with alpacas(twin, "KELV") as heard:
        first = heard.get(timeout=WAIT)
        twin.admin.move_clock(NEXT_HOUR)
        second = heard.get(timeout=WAIT)

    assert (first.symbol, second.symbol) == ("KELV", "KELV")
    assert first.price > 0
    assert second.price != first.price
    assert (second.timestamp - first.timestamp).total_seconds() == pytest.approx(3600, abs=1)


def test_our_own_client_hears_the_same(twin: TwinHandle) -> None:
    with ours(twin).listening(["KELV", "KYLO", "NOBODY"]) as frames:
        ticks: dict[str, Tick] = {}

        def hears() -> bool:
            ticks.update({tick.symbol: tick for tick in frames.next(0.5)})
            return set(ticks) == {"KELV", "KYLO"}

        eventually(hears, seconds=WAIT)

    assert all(tick.price > 0 and tick.time.tzinfo is not None for tick in ticks.values())


def test_out_of_hours_nothing_is_told(twin: TwinHandle) -> None:
    twin.admin.move_clock(CLOSED)

    with ours(twin).listening(["KELV"]) as frames:
        assert frames.next(1.0) == []


def test_an_account_has_one_connection_and_bad_keys_have_none(twin: TwinHandle) -> None:
    taken = pytest.raises(Transient, match="another connection has it")
    with ours(twin).listening(["KELV"]), taken, ours(twin).listening(["KELV"]):
        pytest.fail("two connections")
    with pytest.raises(EnvironmentMismatch, match="refuses the keys"), ours(twin, "BAD").listening(["KELV"]):
        pytest.fail("bad keys")
