"""A real HTTP server on a free port that answers from a script and remembers what it was asked.

Answers are consumed in order; the last one is given for ever. Besides ordinary ones it can hang, cut the connection,
or let a body trickle.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Answer:
    """One scripted answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    reset: bool = False
    trickle: bool = False
    promised_length: int | None = None


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def as_html(status: int = 200) -> Answer:
    """Answer with a page as a proxy in front of the vendor would."""
    return Answer(status, b"<html><body><h1>Bad Gateway</h1></body></html>", {"Content-Type": "text/html"})


class ScriptedServer:
    """Holds the script and the record."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: list[Answer] = [Answer(500)]
        self._lock = threading.Lock()
        self.released = threading.Event()
        self.url = ""

    def answers(self, *script: Answer) -> None:
        """Replace the script and forget what was asked so far."""
        with self._lock:
            self._script = list(script)
            self.asked = []

    def next_for(self, asked: Asked) -> Answer:
        """Remember a request and give the answer that is due."""
        with self._lock:
            self.asked.append(asked)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run the server on 127.0.0.1 until the block ends."""
    scripted = ScriptedServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(scripted))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    scripted.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield scripted
    finally:
        scripted.released.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _handler(scripted: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_DELETE(self) -> None:
            self._serve()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            query = dict(parse_qsl(parts.query))
            answer = scripted.next_for(Asked(self.command, parts.path, query, body, dict(self.headers)))
            if answer.hang:
                scripted.released.wait(30)
            if answer.hang or answer.reset:
                self._cut()
                return
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(answer.promised_length or len(answer.body)))
            self.end_headers()
            if answer.trickle:
                self._trickle()
            self.wfile.write(answer.body)
            self.close_connection = answer.promised_length is not None

        def _trickle(self) -> None:
            try:
                while not scripted.released.wait(0.05):
                    self.wfile.write(b" ")
            except OSError:
                self.close_connection = True

        def _cut(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    return Handler
