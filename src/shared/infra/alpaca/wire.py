"""The only place that touches alpaca-py. Importing it is slow, so the client does that at its first request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import requests
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from src.shared.domain.errors import OutcomeUnknown, Transient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.alpaca.errors import Purpose, hidden, translate
from src.shared.infra.alpaca.transport import harden
from src.shared.ports.rate_limit import RateLimiter

_PAUSE_SECONDS = 15.0

Params = Mapping[str, Any]


class Wire:
    """Single requests: a permit, one attempt, raw JSON back or an error of ours."""

    def __init__(self, endpoints: Endpoints, limiter: RateLimiter) -> None:
        self._limiter = limiter
        keys = endpoints.key.get_secret_value(), endpoints.secret.get_secret_value()
        self._secrets = keys
        self._trading = TradingClient(*keys, raw_data=True, url_override=endpoints.trading_url.rstrip("/"))
        self._data = StockHistoricalDataClient(*keys, raw_data=True, url_override=endpoints.data_url.rstrip("/"))
        timeouts = endpoints.connect_seconds, endpoints.read_seconds
        harden(self._trading, endpoints.trading_url, timeouts, self._mind_the_limit)
        harden(self._data, endpoints.data_url, timeouts, self._mind_the_limit)

    def read(self, path: str, params: Params | None = None, *, urgent: bool = False) -> Any:
        """GET from the trading API."""
        self._limiter.take(urgent=urgent)
        return self._once(Purpose.READ, f"GET {path}", lambda: self._trading.get(path, dict(params or {})))

    def read_data(self, path: str, params: Params, version: str = "v2") -> Any:
        """GET from the market data API."""
        self._limiter.take()
        request = partial(self._data.get, path, dict(params), api_version=version)
        return self._once(Purpose.READ, f"GET {path}", request)

    def read_order(self, client_order_id: str, *, urgent: bool) -> Any:
        """GET an order by our own id."""
        self._limiter.take(urgent=urgent)
        what = f"GET order {client_order_id}"
        return self._once(Purpose.READ, what, lambda: self._trading.get_order_by_client_id(client_order_id))

    def place(self, client_order_id: str, symbol: str, shares: float, side: str, *, urgent: bool) -> Any:
        """POST a day market order."""
        request = MarketOrderRequest(
            symbol=symbol,
            qty=shares,
            side=OrderSide(side),
            time_in_force=TimeInForce.DAY,
            client_order_id=client_order_id,
        )
        self._take_for_write(urgent=urgent)
        what = f"order {client_order_id}"
        return self._once(Purpose.ORDER, what, lambda: self._trading.submit_order(request))

    def cancel(self, broker_order_id: str) -> None:
        """DELETE an order; `broker_order_id` is a UUID, checked by the caller."""
        self._take_for_write(urgent=True)
        what = f"cancel of {broker_order_id}"
        self._once(Purpose.CANCEL, what, lambda: self._trading.cancel_order_by_id(broker_order_id))

    def hide(self, text: str) -> str:
        """Take our keys out of what the broker wrote."""
        return hidden(text, self._secrets)

    def _take_for_write(self, *, urgent: bool) -> None:
        try:
            self._limiter.take(urgent=urgent)
        except Transient as error:
            raise OutcomeUnknown(str(error)) from None

    def _once(self, purpose: Purpose, what: str, request: Callable[[], Any]) -> Any:
        try:
            return request()
        # The SDK raises anything from TypeError to KeyError on answers it did not expect; each has its row.
        except Exception as error:
            # Without "from": the SDK's frames and the request it keeps hold the keys.
            raise translate(error, purpose, what, self._secrets) from None

    def _mind_the_limit(self, response: requests.Response) -> None:
        if response.status_code == 429 or response.headers.get("X-Ratelimit-Remaining") == "0":
            self._limiter.pause(_seconds_until_reset(response))


def _seconds_until_reset(response: requests.Response) -> float:
    try:
        return max(0.0, float(response.headers["X-Ratelimit-Reset"]) - time.time())
    except (KeyError, ValueError):
        return _PAUSE_SECONDS
