"""HTTP as uvicorn speaks it, but a request knows its connection: a fault can hold, cut or reset it."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_CONNECTION = "twin.connection"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class KnownConnection(H11Protocol):
    """Tells the application which connection a request came on. `is_held`: its answer is kept back on purpose."""

    is_held = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over a connection."""
        super().connection_made(transport)
        app: Any = self.app

        async def with_connection(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "extensions": {_CONNECTION: self}}, receive, send)

        self.app = with_connection

    def shutdown(self) -> None:
        """End the connection; an answer that is kept back does not keep the twin from stopping."""
        super().shutdown()
        if self.is_held:
            self.transport.abort()


async def hold(scope: Scope, receive: Receive, seconds: float) -> None:
    """Keep an answer back, at most until the client has gone; the request's body must have been read."""
    connection: KnownConnection = scope["extensions"][_CONNECTION]
    connection.is_held = True
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _until_left(receive)
    connection.is_held = False


async def cut(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Close a request's connection without a word more, by a reset if asked; return once it is closed."""
    transport = scope["extensions"][_CONNECTION].transport
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()
    await _until_left(receive)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
