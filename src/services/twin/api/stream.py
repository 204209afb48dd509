"""The trade_updates websocket: authenticate, listen, then every update as a binary frame of JSON."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from src.services.twin.api.render import event_json
from src.services.twin.api.vendors import refused_keys
from src.services.twin.domain.fault_book import FaultBook
from src.services.twin.domain.faults import (
    STREAM,
    Ask,
    Disconnect,
    Duplicate,
    Lose,
    Malformed,
    Message,
    Reorder,
    Silence,
    UnknownEvent,
    UnknownStatus,
)
from src.services.twin.domain.venue import Event

TRADE_UPDATES = "trade_updates"
FLUSH_SECONDS = 1.0
_NOT_JSON = b"\x00 upstream connect error or disconnect/reset before headers"
_GOING_AWAY = 1001


class Stream:
    """Holds the account's one connection and feeds it."""

    def __init__(self, faults: FaultBook) -> None:
        self._faults = faults
        self._queue: asyncio.Queue[list[Event]] | None = None

    def publish(self, events: list[Event]) -> None:
        """Queue trade updates for the connection, if there is one; nothing is kept for later."""
        if events and self._queue is not None:
            self._queue.put_nowait(events)

    async def flushed(self) -> None:
        """Wait until what is queued was sent, at most a second: the connection may have gone."""
        if self._queue is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._queue.join(), FLUSH_SECONDS)

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
        sender = asyncio.create_task(_Sender(socket, self._faults).run(queue, listening))
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


class _Sender:
    """Tells one connection of trade updates, or lies about them."""

    def __init__(self, socket: WebSocket, faults: FaultBook) -> None:
        self._socket = socket
        self._faults = faults
        self._late: list[bytes] = []
        self._late_at = 0.0
        self._silence: tuple[Silence, float] | None = None

    async def run(self, queue: asyncio.Queue[list[Event]], listening: asyncio.Event) -> None:
        """Send what is queued while the client listens."""
        while True:
            try:
                async with asyncio.timeout(self._late_at - time.monotonic() if self._late else None):
                    events = await queue.get()
            except TimeoutError:
                await self._send_late()
                continue
            if listening.is_set():
                for event in events:
                    await self._tell(event)
            queue.task_done()

    async def _tell(self, event: Event) -> None:
        lie = self._lie_about(event) if self._faults else None
        if self._is_silent():
            return
        frame = orjson.dumps(event_json(event))
        match lie:
            case Disconnect():
                await self._socket.close(_GOING_AWAY)
                raise WebSocketDisconnect(_GOING_AWAY)
            case Reorder():
                self._late.append(frame)
                self._late_at = time.monotonic() + lie.seconds
            case Lose():
                return
            case Duplicate():
                await self._send([frame] * (1 + lie.copies))
            case None:
                await self._send([frame])
            case _:
                await self._send([_spoilt(lie, event)])

    def _lie_about(self, event: Event) -> Message | None:
        order = event.order
        ask = Ask(f"{STREAM}{event.name}", event.at, frozenset([order.symbol]), order.client_order_id)
        lie = self._faults.fired(Message, ask)
        if isinstance(lie, Silence):
            self._silence = (lie, float("inf") if lie.seconds is None else time.monotonic() + lie.seconds)
        return lie

    def _is_silent(self) -> bool:
        if self._silence is None:
            return False
        lie, until = self._silence
        return time.monotonic() < until and self._faults.holds(lie)

    async def _send(self, frames: list[bytes]) -> None:
        for frame in frames:
            await self._socket.send_bytes(frame)
        await self._send_late()

    async def _send_late(self) -> None:
        late, self._late = self._late, []
        for frame in late:
            await self._socket.send_bytes(frame)


def _spoilt(lie: Message, event: Event) -> bytes:
    message = event_json(event)
    match lie:
        case Malformed(form="text"):
            return _NOT_JSON
        case Malformed():
            del message["data"]["order"]
        case UnknownEvent():
            message["data"]["event"] = lie.name
        case UnknownStatus():
            message["data"]["order"]["status"] = lie.name
    return orjson.dumps(message)


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
