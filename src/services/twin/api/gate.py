"""What every vendor request passes: keys, faults, the rate limit, the chosen latency."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.services.twin.api.lies import Exchange, ask_about, read_body, tell
from src.services.twin.api.render import Json
from src.services.twin.api.yahoo import PREFIX as YAHOO
from src.services.twin.api.yahoo_lies import too_many_requests
from src.services.twin.domain.faults import SUBMIT, Wire
from src.services.twin.domain.moments import SECOND
from src.services.twin.use_cases import Twin

WINDOW_SECONDS = 60
_MISSING_KEYS = (
    "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>\r\n"
    "<center><h1>401 Authorization Required</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(slots=True)
class Limits:
    """Requests per minute and key (0: no limit) and the delay before an answer."""

    requests_per_minute: int = 200
    latency_ms: float = 0.0
    used: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def take(self, key: str, host: str, now: float) -> tuple[int, int]:
        """Count a request and return (left, epoch second of the next window); left -1: over."""
        window = int(now // WINDOW_SECONDS)
        seen, count = self.used.get((key, host), (window, 0))
        count = count + 1 if seen == window else 1
        self.used[(key, host)] = (window, count)
        return max(-1, self.requests_per_minute - count), (window + 1) * WINDOW_SECONDS


class Gate:
    """ASGI middleware in front of the vendor's paths; admin and health pass untouched."""

    def __init__(self, app: ASGIApp, limits: Limits, twin: Twin, told: Callable[[], Awaitable[None]]) -> None:
        self._told = told
        self._app = app
        self._limits = limits
        self._twin = twin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http" or not scope["path"].startswith(("/v", f"{YAHOO}/")):
            await self._app(scope, receive, send)
            return
        if f"{scope['method']} {scope['path']}" == SUBMIT:
            self._twin.order_posts += 1
        send = _Stamped(send, {"Date": formatdate(self._twin.dated_now() / SECOND, usegmt=True)})
        if self._limits.latency_ms:
            await asyncio.sleep(self._limits.latency_ms / 1000)
        refusal = None if _is_yahoo(scope) else _refused(scope)
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
        if not self._limits.requests_per_minute:
            await self._app(scope, receive, send)
            return
        if _is_yahoo(scope):
            await self._limited_by_yahoo(scope, receive, send)
            return
        key = Headers(scope=scope).get("apca-api-key-id", "")
        host = "data" if "/stocks/" in scope["path"] else "trading"
        left, reset = self._limits.take(key, host, time.time())
        stamped = _Stamped(
            send,
            {
                "X-Ratelimit-Limit": str(self._limits.requests_per_minute),
                "X-Ratelimit-Remaining": str(max(0, left)),
                "X-Ratelimit-Reset": str(reset),
            },
        )
        if left < 0:
            answer = Json({"code": 42910000, "message": "rate limit exceeded"}, status_code=429)
            answer.headers["Retry-After"] = str(math.ceil(reset - time.time()))
            await answer(scope, receive, stamped)
            return
        await self._app(scope, receive, stamped)

    async def _limited_by_yahoo(self, scope: Scope, receive: Receive, send: Send) -> None:
        left, _ = self._limits.take("", "yahoo", time.time())
        await (self._app if left >= 0 else too_many_requests())(scope, receive, send)


class _Stamped:
    """Sends an answer with headers added."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send = send
        self._headers = headers

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(self._headers)
        await self._send(message)


def _is_yahoo(scope: Scope) -> bool:
    return bool(scope["path"].startswith(f"{YAHOO}/"))


def _refused(scope: Scope) -> Response | None:
    headers = Headers(scope=scope)
    return refused_keys(headers.get("apca-api-key-id", ""), headers.get("apca-api-secret-key", ""))


def refused_keys(key: str, secret: str) -> Response | None:
    """Return the 401 for missing or bad keys, else None. Any other keys are good."""
    if not key or not secret:
        return HTMLResponse(_MISSING_KEYS, status_code=401)
    if key.startswith("BAD") or secret.startswith("BAD"):
        return Json({"message": "unauthorized."}, status_code=401)
    return None
