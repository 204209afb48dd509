"""One twin for the whole folder, put back to the same moment before every test, and alpaca-py's own clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from tests.fakes.twin_server import TwinHandle, running_twin

START = "2025-03-03T15:30:05Z"  # a Monday, 10:30:05 in New York: the bar of 10:30 is in progress

Send = Callable[..., Order]


@pytest.fixture(scope="package")
def shared_twin() -> Iterator[TwinHandle]:
    with running_twin(clock=START) as handle:
        yield handle


@pytest.fixture
def twin(shared_twin: TwinHandle) -> TwinHandle:
    shared_twin.admin.clear_faults()
    shared_twin.admin.move_clock(START, reset=True)
    shared_twin.admin.post("rules", reset=True)
    shared_twin.admin.post(
        "settings", requests_per_minute=0, latency_ms=0, partial_fill_probability=0, half_spread_bps=1.5
    )
    return shared_twin


@pytest.fixture
def trading(twin: TwinHandle) -> TradingClient:
    client = TradingClient("key", "secret", paper=True, url_override=twin.url)
    client._retry = 0
    return client


@pytest.fixture
def data(twin: TwinHandle) -> StockHistoricalDataClient:
    return StockHistoricalDataClient("key", "secret", url_override=twin.url)


@pytest.fixture
def send(trading: TradingClient) -> Send:
    """Send an order: `send("buy", 10, "KELV", limit=…, client_order_id=…)`."""

    def _send(side: str, qty: float, symbol: str = "KELV", limit: float | None = None, **more: Any) -> Order:
        terms: dict[str, Any] = {"symbol": symbol, "qty": qty, "side": OrderSide(side), **more}
        terms.setdefault("time_in_force", TimeInForce.DAY)
        request = MarketOrderRequest(**terms) if limit is None else LimitOrderRequest(limit_price=limit, **terms)
        order = trading.submit_order(request)
        assert isinstance(order, Order)
        return order

    return _send
