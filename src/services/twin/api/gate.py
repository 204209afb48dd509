"""What every vendor request passes: keys, faults, the rate limit, the chosen latency."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.services.twin.api.lies import Exchange, ask_about, read_body, tell
from src.services.twin.api.vendors import POLYGON, Vendor, vendor_of
from src.services.twin.domain.faults import SUBMIT, YAHOO_PATH, Wire
from src.services.twin.domain.moments import SECOND
from src.services.twin.use_cases import Twin

WINDOW_SECONDS = 60


@dataclass(slots=True)
class Limits:
    """Requests per minute and key of each vendor (0: no limit) and the delay before an answer."""

    requests_per_minute: int = 200
    polygon_requests_per_minute: int = 5
    latency_ms: float = 0.0
    used: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def of(self, vendor: Vendor) -> int:
        """Return the requests per minute that a vendor allows."""
        return self.polygon_requests_per_minute if vendor is POLYGON else self.requests_per_minute

    def take(self, limit: int, key: str, host: str, now: float) -> tuple[int, int]:
        """Count a request and return (left, epoch second of the next window); left -1: over."""
        window = int(now // WINDOW_SECONDS)
        seen, count = self.used.get((key, host), (window, 0))
        count = count + 1 if seen == window else 1
        self.used[(key, host)] = (window, count)
        return max(-1, limit - count), (window + 1) * WINDOW_SECONDS


class Gate:
    """ASGI middleware in front of the vendor's paths; admin and health pass untouched."""

    def __init__(self, app: ASGIApp, limits: Limits, twin: Twin, told: Callable[[], Awaitable[None]]) -> None:
        self._told = told
        self._app = app
        self._limits = limits
        self._twin = twin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http" or not scope["path"].startswith(("/v", YAHOO_PATH)):
            await self._app(scope, receive, send)
            return
        if f"{scope['method']} {scope['path']}" == SUBMIT:
            self._twin.order_posts += 1
        send = _Stamped(send, {"Date": formatdate(self._twin.dated_now() / SECOND, usegmt=True)})
        if self._limits.latency_ms:
            await asyncio.sleep(self._limits.latency_ms / 1000)
        refusal = vendor_of(scope["path"]).refused(Headers(scope=scope))
        if refusal:
            await refusal(scope, receive, send)
            return
        if self._twin.faults:
            await self._doubtful(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    async def _doubtful(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(self._limited, scope, receive, send, await read_body(receive), self._told)
        lie = self._twin.faults.fired(Wire, ask_about(scope, exchange.body, self._twin.catch_up()))
        if lie is None:
            await exchange.pass_on()
        else:
            await tell(lie, exchange)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        vendor = vendor_of(scope["path"])
        limit = self._limits.of(vendor)
        if not limit:
            await self._app(scope, receive, send)
            return
        key, host = vendor.counted(scope["path"], Headers(scope=scope))
        left, reset = self._limits.take(limit, key, host, time.time())
        stamped = _Stamped(send, vendor.limit_headers(limit, left, reset))
        if left < 0:
            await vendor.failed(429, "rate limit exceeded")(scope, receive, stamped)
            return
        await self._app(scope, receive, stamped)


class _Stamped:
    """Sends an answer with headers added."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send = send
        self._headers = headers

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(self._headers)
        await self._send(message)
