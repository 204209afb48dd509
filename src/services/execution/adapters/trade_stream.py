"""The broker's trade_updates over its websocket, on the library `websockets`.

alpaca-py's own stream drops a message that it can't parse, or whose handler raised, and says nothing of a reconnect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from websockets.sync.connection import Connection

from src.services.execution.domain.trade_updates import STREAM
from src.shared.domain.errors import EnvironmentMismatch, Transient
from src.shared.infra.alpaca.sockets import Frames, connected, socket_url

_WHAT = "the broker's stream of trade updates"
_CONNECTION_LIMIT = "connection limit"


class StreamTaken(Transient):
    """The account has its one connection already: another listener runs, or the last one is not missed yet."""


class TradeStream:
    """Connects to the stream; nothing connects before `listening`."""

    def __init__(self, broker_url: str, keys: tuple[SecretStr, SecretStr], connect_seconds: float) -> None:
        self._url = socket_url(broker_url, "/stream")
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
        with connected(self._url, self._seconds, _WHAT) as socket:
            self._authenticate(socket)
            self._subscribe(socket)
            yield Frames(socket, _WHAT)

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
