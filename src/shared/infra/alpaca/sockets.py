"""Alpaca's websockets, on the library `websockets`: connected within a bound, pinged, and one error for all ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from src.shared.domain.errors import Transient

_PING_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def socket_url(base_url: str, path: str) -> str:
    """Name the websocket below an HTTP address."""
    parts = urlsplit(base_url)
    scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
    return parts._replace(scheme=scheme, path=f"{parts.path.rstrip('/')}{path}").geturl()


@contextmanager
def connected(url: str, connect_seconds: float, what: str) -> Iterator[Connection]:
    """Connect.

    Raises:
        Transient: it is away, or went away; the message calls it `what`.
    """
    with (
        translated_errors(what),
        connect(
            url,
            # A proxy of the environment has no business between us and a server on this machine.
            proxy=None if urlsplit(url).hostname in _LOOPBACK else True,
            open_timeout=connect_seconds,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
        ) as socket,
    ):
        yield socket


class Frames:
    """The messages of one connection, as they come."""

    def __init__(self, socket: Connection, what: str) -> None:
        self._socket = socket
        self._what = what

    def next(self, timeout_seconds: float) -> str | bytes | None:
        """Return the next message, or None when there was none in time.

        Raises:
            Transient: the connection is gone, or pings are not answered any more.
        """
        with translated_errors(self._what):
            try:
                return self._socket.recv(timeout=timeout_seconds, decode=None)
            except TimeoutError:
                return None


@contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Raise Transient for every way in which a connection ends."""
    try:
        yield
    except (WebSocketException, OSError, EOFError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Transient(f"{what} is away: {said}") from None
