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
        refusal = _refusal(await _message(socket))
        if refusal is None and self._queue is not None:
            refusal = "connection limit exceeded"
        if refusal is not None:
            await _send(socket, "authorization", _authorization(refusal))
            await socket.close(1008)
            return
        self._queue = asyncio.Queue()  # taken before the next await: two newcomers can't both have it
        try:
            await _send(socket, "authorization", _authorization(None))
            await self._converse(socket, self._queue)
        finally:
            self._queue = None

    async def _converse(self, socket: WebSocket, queue: asyncio.Queue[list[Event]]) -> None:
        listening = asyncio.Event()
        sender = asyncio.create_task(_send_updates(socket, queue, listening))
        try:
            while True:
                await self._answer(socket, await _message(socket), listening)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

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


def _refusal(message: dict[str, Any]) -> str | None:
    data = message.get("data") if message.get("action") == "authenticate" else message
    data = data if isinstance(data, dict) else {}
    key = str(data.get("key_id") or data.get("key") or "")
    secret = str(data.get("secret_key") or data.get("secret") or "")
    if message.get("action") not in ("authenticate", "auth") or refused_keys(key, secret):
        return "access key verification failed"
    return None


def _authorization(refusal: str | None) -> dict[str, Any]:
    if refusal is None:
        return {"status": "authorized", "action": "authenticate"}
    return {"status": "unauthorized", "action": "authenticate", "message": refusal}


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
