"""The trade_updates websocket: authenticate, listen, then every update as a binary frame of JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from src.services.twin.api.gate import refused_keys
from src.services.twin.api.render import event_json
from src.services.twin.domain.venue import Event

TRADE_UPDATES = "trade_updates"


class Stream:
    """Holds the account's one connection and feeds it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[list[Event]] | None = None

    def publish(self, events: list[Event]) -> None:
        """Queue trade updates for the connection, if there is one; nothing is kept for later."""
        if events and self._queue is not None:
            self._queue.put_nowait(events)

    def routes(self) -> APIRouter:
        """Return the websocket's route."""
        router = APIRouter()

        @router.websocket("/stream")
        async def stream(socket: WebSocket) -> None:
            await socket.accept()
            try:
                await self._serve(socket)
            except WebSocketDisconnect:
                return

        return router

    async def _serve(self, socket: WebSocket) -> None:
        if not await self._authorized(socket):
            await socket.close(1008)
            return
        queue: asyncio.Queue[list[Event]] = asyncio.Queue()
        self._queue = queue
        listening = asyncio.Event()
        sender = asyncio.create_task(_send_updates(socket, queue, listening))
        try:
            while True:
                await self._answer(socket, await _message(socket), listening)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            self._queue = None

    async def _authorized(self, socket: WebSocket) -> bool:
        message = await _message(socket)
        data = message.get("data") if message.get("action") == "authenticate" else message
        data = data if isinstance(data, dict) else {}
        key = str(data.get("key_id") or data.get("key") or "")
        secret = str(data.get("secret_key") or data.get("secret") or "")
        good = message.get("action") in ("authenticate", "auth") and refused_keys(key, secret) is None
        reason = None if good else "access key verification failed"
        if good and self._queue is not None:
            good, reason = False, "connection limit exceeded"
        await _send(socket, "authorization", _authorization(good, reason))
        return good

    async def _answer(self, socket: WebSocket, message: dict[str, Any], listening: asyncio.Event) -> None:
        if message.get("action") != "listen":
            await _send(socket, "listening", {"error": "unknown action"})
            return
        asked = (message.get("data") or {}).get("streams") or []
        streams = [name for name in asked if name == TRADE_UPDATES]
        await _send(socket, "listening", {"streams": streams})
        if streams:
            listening.set()
        else:
            listening.clear()


def _authorization(good: bool, reason: str | None) -> dict[str, Any]:
    data = {"status": "authorized" if good else "unauthorized", "action": "authenticate"}
    return data | ({"message": reason} if reason else {})


async def _send_updates(socket: WebSocket, queue: asyncio.Queue[list[Event]], listening: asyncio.Event) -> None:
    while True:
        events = await queue.get()
        if listening.is_set():
            for event in events:
                await socket.send_bytes(orjson.dumps(event_json(event)))


async def _send(socket: WebSocket, stream: str, data: dict[str, Any]) -> None:
    await socket.send_bytes(orjson.dumps({"stream": stream, "data": data}))


async def _message(socket: WebSocket) -> dict[str, Any]:
    frame = await socket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame.get("code", 1000))
    try:
        message = orjson.loads(frame.get("text") or frame.get("bytes") or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return message if isinstance(message, dict) else {}
