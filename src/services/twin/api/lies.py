"""Faults on the wire: what a client is told instead of the venue's answer, and what is never told."""

from __future__ import annotations

import asyncio
import math
import operator
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.services.twin.api.connection import cut, hold
from src.services.twin.api.polygon_lies import asked_since, polygon_answer, spoilt_answer
from src.services.twin.api.vendors import Vendor, vendor_of
from src.services.twin.api.yahoo_lies import odd_answer, yahoo_answer
from src.services.twin.domain.faults import (
    Ask,
    BeforeHttp,
    Changed,
    Cut,
    Empty,
    Extra,
    Hang,
    Html,
    Latency,
    MadeUp,
    MissingRows,
    PolygonAnswer,
    PolygonChange,
    Redirect,
    StatusAnswer,
    Truncated,
    Wire,
    YahooAnswer,
    YahooChange,
)
from src.services.twin.domain.venue import Venue

_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"
)
_PHRASES = {429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
_UNKNOWN_FIELDS = {"twin_unknown_field": {"nested": [1, None]}, "twin_huge_number": 10**18}


@dataclass(slots=True)
class Exchange:
    """One request whose body has been read, the way to the venue and back, and `told`: the stream has caught up."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    body: bytes
    told: Callable[[], Awaitable[None]]

    async def pass_on(self, send: Send | None = None) -> None:
        """Let the venue act and answer."""
        unread = True

        async def receive() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": self.body, "more_body": False}
            return await self.receive()

        await self.app(self.scope, receive, send or self.send)

    async def venue_answer(self) -> Response:
        """Let the venue act and return what it answers, untold."""
        heard: list[Message] = []

        async def keep(message: Message) -> None:
            heard.append(message)

        await self.pass_on(keep)
        answer = Response(b"".join(each.get("body", b"") for each in heard), status_code=heard[0]["status"])
        answer.raw_headers = list(heard[0]["headers"])
        return answer

    async def answer(self, response: Response) -> None:
        """Tell the client."""
        await response(self.scope, self.receive, self.send)

    async def hold(self, seconds: float) -> None:
        """Wait, at most until the client has gone."""
        await hold(self.scope, self.receive, seconds)


async def read_body(receive: Receive) -> bytes:
    """Return the whole body of a request."""
    parts = bytearray()
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(parts)


def ask_about(scope: Scope, body: bytes, venue: Venue) -> Ask:
    """Say which endpoint, symbols and client order id a request is about."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    fields = _fields(body)
    last = scope["path"].rpartition("/")[2]
    client_id = str(fields.get("client_order_id") or next(iter(query.get("client_order_id", [])), ""))
    order = venue.orders.get(last) or venue.by_client_id.get(client_id)
    named = [str(fields.get("symbol") or ""), last, order.symbol if order else ""]
    named += [symbol for text in query.get("symbols", []) for symbol in text.split(",")]
    named += [*scope["path"].split("/"), *query.get("ticker", [])]
    return Ask(
        endpoint=f"{scope['method']} {scope['path']}",
        at=venue.now,
        symbols=frozenset(named) & venue.rules.keys(),
        client_order_id=order.client_order_id if order else client_id,
        since=asked_since(scope["path"]),
        is_later_page="cursor" in query,
    )


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


async def tell(lie: Wire, exchange: Exchange) -> None:
    """Let a request meet its fault."""
    match lie:
        case Cut():
            await _cut(lie, exchange)
        case Latency():
            await _delay(lie, exchange)
        case BeforeHttp():
            answer = await exchange.venue_answer()
            await exchange.told()
            await exchange.hold(lie.seconds)
            await exchange.answer(answer)
        case MadeUp():
            if lie.processed:
                await exchange.venue_answer()
            await exchange.answer(_made_up(lie, exchange.scope))
        case Changed():
            await exchange.answer(_changed(lie, await exchange.venue_answer(), exchange.scope))


async def _cut(lie: Cut, exchange: Exchange) -> None:
    if lie.acts:
        await exchange.venue_answer()
    if isinstance(lie, Hang) and lie.after_headers:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        await exchange.send({"type": "http.response.body", "body": b"{", "more_body": True})
    await exchange.hold(lie.seconds)
    await cut(exchange.scope, exchange.receive, reset=lie.resets)


async def _delay(lie: Latency, exchange: Exchange) -> None:
    if lie.processed:
        answer = await exchange.venue_answer()
        await exchange.hold(lie.seconds)
        await exchange.answer(answer)
    else:
        # It is on its way: the venue will get it even if the client does not wait.
        await asyncio.sleep(lie.seconds)
        await exchange.pass_on()


def _made_up(lie: MadeUp, scope: Scope) -> Response:
    match lie:
        case YahooAnswer():
            return yahoo_answer(lie)
        case PolygonAnswer():
            return polygon_answer(lie)
        case Redirect():
            return RedirectResponse(lie.location, status_code=302)
        case StatusAnswer():
            return _status(lie, vendor_of(scope["path"]))
        case Html():
            return HTMLResponse(_PAGE.format("Alpaca"), status_code=200)
        case Empty():
            return Response(b"", status_code=200)
        case _:
            raise TypeError(f"{type(lie).__name__} has no answer of its own")


def _status(lie: StatusAnswer, vendor: Vendor) -> Response:
    phrase = _PHRASES.get(lie.status, "Error")
    if lie.body == "html":
        answer: Response = HTMLResponse(_PAGE.format(f"{lie.status} {phrase}"), status_code=lie.status)
    elif lie.body == "empty":
        answer = Response(b"", status_code=lie.status)
    else:
        answer = vendor.failed(lie.status, lie.message or phrase.lower(), lie.code)
    if lie.status == 429:
        reset = math.ceil(time.time()) + lie.reset_seconds
        answer.headers.update(vendor.limit_headers(200, -1, reset) | {"Retry-After": str(lie.reset_seconds)})
    return answer


def _changed(lie: Changed, answer: Response, scope: Scope) -> Response:
    if isinstance(lie, Truncated):
        return _with_body(answer, bytes(answer.body)[: int(len(answer.body) * lie.keep)])
    try:
        content = orjson.loads(bytes(answer.body))
    except orjson.JSONDecodeError:
        return answer
    if isinstance(lie, YahooChange):
        return odd_answer(lie, answer, content)
    if isinstance(lie, PolygonChange):
        return spoilt_answer(lie, content, scope) if answer.status_code == 200 else answer
    if isinstance(lie, Extra):
        content = _spoil(lie, content)
    elif isinstance(lie, MissingRows):
        content = _without_rows(lie, content)
    return _with_body(answer, orjson.dumps(content))


def _with_body(answer: Response, body: bytes) -> Response:
    changed = Response(body, status_code=answer.status_code)
    kept = [pair for pair in Headers(raw=answer.raw_headers).raw if pair[0].lower() != b"content-length"]
    changed.raw_headers = [*kept, (b"content-length", str(len(body)).encode())]
    return changed


def _spoil(lie: Extra, content: Any) -> Any:
    if lie.null_answer:
        return None
    if isinstance(content, list):
        if lie.row < len(content):
            _spoil_row(lie, content[lie.row])
    else:
        _spoil_row(lie, content)
    return content


def _spoil_row(lie: Extra, row: Any) -> None:
    said_nothing = not (lie.set or lie.null or lie.remove)
    values = _UNKNOWN_FIELDS if said_nothing else lie.set | dict.fromkeys(lie.null)
    for path, value in values.items():
        _change(row, path, partial(_put, value=value))
    for path in lie.remove:
        _change(row, path, operator.delitem)


def _put(holder: Any, name: str | int, value: Any) -> None:
    holder[name] = value


def _change(content: Any, path: str, change: Callable[[Any, str | int], None]) -> None:
    *way, last = path.split(".")
    # A path that leads nowhere in this answer changes nothing: the same rule may meet many answers.
    with suppress(KeyError, IndexError, ValueError, TypeError):
        for name in way:
            content = content[_key(content, name)]
        change(content, _key(content, last))


def _key(content: Any, name: str) -> str | int:
    return int(name) if isinstance(content, list) else name


def _without_rows(lie: MissingRows, content: Any) -> Any:
    if isinstance(content, list):
        return _kept(lie, content)
    if not isinstance(content, dict):
        return content
    # Market data: rows by symbol, under one name.
    return {name: _kept_of(lie, value) if isinstance(value, dict) else value for name, value in content.items()}


def _kept(lie: MissingRows, rows: list[Any]) -> list[Any]:
    if not lie.without:
        return rows[: lie.keep]
    return [row for row in rows if not (isinstance(row, dict) and row.get("symbol") in lie.without)]


def _kept_of(lie: MissingRows, by_symbol: dict[str, Any]) -> dict[str, Any]:
    if lie.without:
        return {symbol: rows for symbol, rows in by_symbol.items() if symbol not in lie.without}
    return {symbol: rows[: lie.keep] if isinstance(rows, list) else rows for symbol, rows in by_symbol.items()}
