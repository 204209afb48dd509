"""HTTP as uvicorn speaks it, but a request knows its connection: a fault can cut or reset it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_CONNECTION = "twin.connection"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class KnownConnection(H11Protocol):
    """Tells the application which connection a request came on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over a connection."""
        super().connection_made(transport)
        app: Any = self.app

        async def with_connection(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "extensions": {_CONNECTION: transport}}, receive, send)

        self.app = with_connection


async def cut(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Close a request's connection without a word more, by a reset if asked; return once it is closed."""
    transport: asyncio.Transport = scope["extensions"][_CONNECTION]
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()
    await until_left(receive)


async def until_left(receive: Receive) -> None:
    """Wait until the client has gone; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        continue
