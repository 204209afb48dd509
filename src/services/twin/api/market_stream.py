"""Alpaca's market data websocket: trades of the symbols that a connection asks for, as JSON or msgpack.

A trade is told when the venue's clock has moved to another price, and once after it was asked for; never out of
hours. Quotes and bars are confirmed and not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgpack
import orjson
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from src.services.twin.api.vendors import refused_keys
from src.services.twin.domain.moments import SECOND, iso_utc
from src.services.twin.use_cases import Twin

LOOK_SECONDS = 0.2
_FEEDS = ("iex", "sip")
_PACKED = "application/msgpack"
_CHANNELS = (
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
)
_TAKEN = 406, "connection limit exceeded"
_NOT_ALLOWED = 402, "auth failed"
_SYNTAX = 400, "invalid syntax"

Message = dict[str, Any]


class MarketStream:
    """Holds the account's one connection for market data and feeds it."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._is_taken = False

    def routes(self) -> APIRouter:
        """Return the websocket's route."""
        router = APIRouter()

        @router.websocket("/v2/{feed}")
        async def market_data(socket: WebSocket, feed: str) -> None:
            if feed not in _FEEDS:
                await socket.close(1008)
                return
            await socket.accept()
            try:
                await self._serve(_Line(socket, is_packed=socket.headers.get("content-type") == _PACKED))
            except WebSocketDisconnect:
                return

        return router

    async def _serve(self, line: _Line) -> None:
        await line.send([{"T": "success", "msg": "connected"}])
        asked = await line.receive()
        key, secret = str(asked.get("key") or ""), str(asked.get("secret") or "")
        if asked.get("action") != "auth" or refused_keys(key, secret):
            await line.refuse(*_NOT_ALLOWED)
        elif self._is_taken:
            await line.refuse(*_TAKEN)
        else:
            self._is_taken = True  # before the next await: two newcomers can't both have it
            try:
                await line.send([{"T": "success", "msg": "authenticated"}])
                await self._converse(line)
            finally:
                self._is_taken = False

    async def _converse(self, line: _Line) -> None:
        subscribed = _Subscribed()
        teller = asyncio.create_task(self._tell(line, subscribed))
        try:
            while True:
                asked = await line.receive()
                if subscribed.change(asked):
                    await line.send(
                        [{"T": "subscription", **{name: sorted(subscribed.by[name]) for name in _CHANNELS}}]
                    )
                else:
                    code, said = _SYNTAX
                    await line.send([{"T": "error", "code": code, "msg": said}])
        finally:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)

    async def _tell(self, line: _Line, subscribed: _Subscribed) -> None:
        told: dict[str, float] = {}
        number = 0
        while True:
            venue = self._twin.catch_up()
            is_open = venue.market.sessions.slot_at(venue.now) is not None
            prices = self._prices(subscribed.by["trades"]) if is_open else {}
            fresh = {symbol: price for symbol, price in prices.items() if told.get(symbol) != price}
            told = {symbol: price for symbol, price in told.items() if symbol in subscribed.by["trades"]} | fresh
            if fresh:
                trades = [
                    _trade(symbol, price, venue.now, number + place, is_packed=line.is_packed)
                    for place, (symbol, price) in enumerate(sorted(fresh.items()), start=1)
                ]
                number += len(trades)
                await line.send(trades)
            await asyncio.sleep(LOOK_SECONDS)

    def _prices(self, symbols: set[str]) -> Mapping[str, float]:
        venue = self._twin.venue
        wanted = venue.market.symbols if "*" in symbols else symbols & set(venue.market.symbols)
        known = {symbol: venue.price(symbol) for symbol in wanted}
        return {symbol: float(price) for symbol, price in known.items() if price is not None}


@dataclass
class _Subscribed:
    """What a connection asked for, by channel."""

    by: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _CHANNELS})

    def change(self, asked: Message) -> bool:
        """Follow a request; False where it is none."""
        action = asked.get("action")
        if action not in ("subscribe", "unsubscribe"):
            return False
        for name in _CHANNELS:
            symbols = {str(symbol) for symbol in asked.get(name) or ()}
            if action == "subscribe":
                self.by[name] |= symbols
            else:
                self.by[name] -= symbols
        return True


@dataclass
class _Line:
    """One connection, in the encoding that it asked for."""

    socket: WebSocket
    is_packed: bool

    async def send(self, messages: list[Message]) -> None:
        """Send messages in one frame."""
        if self.is_packed:
            await self.socket.send_bytes(msgpack.packb(messages, datetime=True))
        else:
            await self.socket.send_text(orjson.dumps(messages).decode())

    async def refuse(self, code: int, said: str) -> None:
        """Say no, and close."""
        await self.send([{"T": "error", "code": code, "msg": said}])
        await self.socket.close(1008)

    async def receive(self) -> Message:
        """Return the next request; empty where it can't be read."""
        frame = await self.socket.receive()
        if frame["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(frame.get("code", 1000))
        data = frame.get("bytes") or (frame.get("text") or "").encode()
        try:
            message = msgpack.unpackb(data) if self.is_packed else orjson.loads(data)
        except (ValueError, msgpack.UnpackException):
            return {}
        return message if isinstance(message, dict) else {}


def _trade(symbol: str, price: float, now: int, number: int, *, is_packed: bool) -> Message:
    moment: object = datetime.fromtimestamp(now / SECOND, UTC) if is_packed else iso_utc(now)
    return {"T": "t", "S": symbol, "i": number, "x": "V", "p": price, "s": 100, "t": moment, "c": ["@"], "z": "A"}
