"""The broker's trade_updates over its websocket, on the library `websockets`.

alpaca-py's own stream drops a message that it can't parse, or whose handler raised, and says nothing of a reconnect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from src.services.execution.domain.trade_updates import STREAM
from src.shared.domain.errors import EnvironmentMismatch, Transient

_PING_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_CONNECTION_LIMIT = "connection limit"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class StreamTaken(Transient):
    """The account has its one connection already: another listener runs, or the last one is not missed yet."""


class TradeStream:
    """Connects to the stream; nothing connects before `listening`."""

    def __init__(self, broker_url: str, keys: tuple[SecretStr, SecretStr], connect_seconds: float) -> None:
        parts = urlsplit(broker_url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._url = parts._replace(scheme=scheme, path=f"{parts.path.rstrip('/')}/stream").geturl()
        self._is_local = parts.hostname in _LOOPBACK
        self._keys = keys
        self._seconds = connect_seconds

    @contextmanager
    def listening(self) -> Iterator[Frames]:
        """Connect, show the keys and ask for trade updates.

        Raises:
            EnvironmentMismatch: the keys are not accepted.
            StreamTaken: the account has its one connection already.
            Transient: the stream is away, or went away.
        """
        with (
            _translated_errors(),
            connect(
                self._url,
                # A proxy of the environment has no business between us and a server on this machine.
                proxy=None if self._is_local else True,
                open_timeout=self._seconds,
                close_timeout=_CLOSE_SECONDS,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PING_SECONDS,
            ) as socket,
        ):
            self._authenticate(socket)
            self._subscribe(socket)
            yield Frames(socket)

    def _authenticate(self, socket: Connection) -> None:
        key, secret = self._keys
        data = {"key_id": key.get_secret_value(), "secret_key": secret.get_secret_value()}
        answer = self._ask(socket, "authorization", {"action": "authenticate", "data": data})
        if answer.get("status") == "authorized":
            return
        message = str(answer.get("message") or answer.get("status"))
        if _CONNECTION_LIMIT in message.lower():
            raise StreamTaken(f"the broker's stream of trade updates: {message}")
        raise EnvironmentMismatch(
            f"The broker's stream of trade updates refuses the keys ({message[:200]}): check "
            "TRADEWINDS_ALPACA_API_KEY, _SECRET_KEY and _ENVIRONMENT."
        )

    def _subscribe(self, socket: Connection) -> None:
        answer = self._ask(socket, "listening", {"action": "listen", "data": {"streams": [STREAM]}})
        if STREAM not in (answer.get("streams") or []):
            raise Transient(f"the broker's stream does not give trade updates: {str(answer)[:200]}")

    def _ask(self, socket: Connection, stream: str, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer. Updates before it are dropped: a connection is a hint itself.

        Raises:
            TimeoutError: there was no answer in time.
        """
        socket.send(json.dumps(request))
        while True:
            try:
                message = json.loads(socket.recv(timeout=self._seconds))
            except (ValueError, RecursionError):
                raise Transient("the broker's stream answers something else than JSON") from None
            if isinstance(message, dict) and message.get("stream") == stream:
                data = message.get("data")
                return data if isinstance(data, dict) else {}


class Frames:
    """The messages of one connection, as they come."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket

    def next(self, timeout_seconds: float) -> str | bytes | None:
        """Return the next message, or None when there was none in time.

        Raises:
            Transient: the connection is gone, or pings are not answered any more.
        """
        with _translated_errors():
            try:
                return self._socket.recv(timeout=timeout_seconds, decode=None)
            except TimeoutError:
                return None


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (WebSocketException, OSError, EOFError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Transient(f"the broker's stream of trade updates is away: {said}") from None
