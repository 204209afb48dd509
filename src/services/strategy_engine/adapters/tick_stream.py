"""Trades at the exchange over Alpaca's market data websocket, on the library `websockets`.

alpaca-py's own stream drops a message that it can't parse, or whose handler raised, and says nothing of a reconnect.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from websockets.sync.connection import Connection

from src.shared.domain.errors import EnvironmentMismatch, Transient
from src.shared.domain.ticks import Tick
from src.shared.infra.alpaca.sockets import Frames, connected

_WHAT = "the stream of market data"
_CONNECTION_LIMIT = 406
_NOT_ALLOWED = (401, 402, 403, 404, 409, 411)


class TickStream:
    """Connects to the stream; nothing connects before `listening`. An account has one connection."""

    def __init__(self, url: str, keys: tuple[SecretStr, SecretStr], connect_seconds: float) -> None:
        self._url = url
        self._keys = keys
        self._seconds = connect_seconds

    @contextmanager
    def listening(self, symbols: Collection[str]) -> Iterator[TickFrames]:
        """Connect, show the keys and ask for the trades of these symbols.

        Raises:
            EnvironmentMismatch: the keys are not accepted, or not for this feed.
            Transient: the stream is away, went away, or is taken by another connection.
        """
        with connected(self._url, self._seconds, _WHAT) as socket:
            self._await(socket, "success", "connected")
            key, secret = (each.get_secret_value() for each in self._keys)
            socket.send(json.dumps({"action": "auth", "key": key, "secret": secret}))
            self._await(socket, "success", "authenticated")
            socket.send(json.dumps({"action": "subscribe", "trades": sorted(symbols)}))
            self._await(socket, "subscription")
            yield TickFrames(Frames(socket, _WHAT))

    def _await(self, socket: Connection, kind: str, said: str | None = None) -> None:
        """Wait for an answer; what comes before it is dropped."""
        while True:
            for message in _messages(socket.recv(timeout=self._seconds)):
                if message.get("T") == "error":
                    raise _refusal(message)
                if message.get("T") == kind and said in (None, message.get("msg")):
                    return


class TickFrames:
    """The trades of one connection, as they come."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def next(self, timeout_seconds: float) -> list[Tick]:
        """Return the next trades; none when there were none in time, or what came are none.

        Raises:
            Transient: the connection is gone.
        """
        frame = self._frames.next(timeout_seconds)
        if frame is None:
            return []
        ticks = [_tick(message) for message in _messages(frame) if message.get("T") == "t"]
        return [tick for tick in ticks if tick is not None]


def _messages(frame: str | bytes) -> list[dict[str, Any]]:
    try:
        read = json.loads(frame)
    except (ValueError, RecursionError):
        return []
    return [each for each in read if isinstance(each, dict)] if isinstance(read, list) else []


def _refusal(message: dict[str, Any]) -> Exception:
    code, said = message.get("code"), str(message.get("msg"))[:200]
    if code in _NOT_ALLOWED:
        return EnvironmentMismatch(
            f"{_WHAT} refuses the keys ({said}): check TRADEWINDS_ALPACA_API_KEY, _SECRET_KEY and _FEED."
        )
    taken = ": another connection has it" if code == _CONNECTION_LIMIT else ""
    return Transient(f"{_WHAT} says {said}{taken}")


def _tick(message: dict[str, Any]) -> Tick | None:
    try:
        tick = Tick(str(message["S"]), float(message["p"]), datetime.fromisoformat(message["t"]).astimezone(UTC))
    except (KeyError, ValueError, TypeError):
        return None
    return tick if math.isfinite(tick.price) and tick.price > 0 else None
