"""The wire between the real client and the real twin, in one thread: bytes in, bytes out, and what wires do.

A line takes the place of the socket below our own bounded adapter, so that this one's rules (no redirects, bounded
bodies, rate limit headers) count here too. Requests run on the simulated event loop: a time-out costs no real time,
and a request that its client has given up still arrives, or is still worked on, when its time has come.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from src.shared.infra.alpaca.transport import BoundedAdapter
from tests.simulation.clock import SimClock

App = Callable[..., Any]
LATENCY_SECONDS = 0.02

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
FAULTS = (
    "lost",
    "answer lost",
    "late",
    "reset",
    "answer reset",
    "500",
    "502",
    "503 after",
    "504 after",
    "429",
    "302",
    "truncated",
    "empty",
    "not json",
)
"""What a wire may do to a request; "after" and "answer": the server has acted on it."""

_CANNED = {
    "500": (500, b'{"code": 50010000, "message": "internal server error"}'),
    "502": (502, HTML),
    "503 after": (503, b'{"message": "service unavailable"}'),
    "504 after": (504, HTML),
    "429": (429, b'{"code": 42910000, "message": "rate limit exceeded"}'),
    "302": (302, b""),
    "empty": (200, b""),
    "not json": (200, b"<html>maintenance</html>"),
}
_NEVER_ARRIVES = frozenset({"500", "502", "429", "302"})


@dataclass
class WireFault:
    """What happens to the next `count` requests of a kind, after `skip` that pass; `seconds` is for `late`."""

    fault: str
    kind: str
    skip: int = 0
    count: int = 1
    seconds: float = 0.0

    def takes(self, kind: str) -> bool:
        """Say whether it happens to this request, and count it."""
        if self.kind not in (kind, "any") or self.count == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return True


@dataclass(frozen=True)
class Answer:
    """What came back over the wire."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def kind_of(method: str, path: str) -> str:
    """Name what a request is for."""
    if method == "POST":
        return "order"
    if method == "DELETE":
        return "cancel"
    tail = path.removeprefix("/v2/").partition("/")
    names = {"orders:by_client_order_id": "lookup", "account": "fills" if tail[2] else "account"}
    return names.get(tail[0], tail[0])


class Network:
    """Carries requests to the app, and does to them what was asked for."""

    def __init__(self, app: App, clock: SimClock, tell: Callable[[str], None]) -> None:
        self._app = app
        self._clock = clock
        self.tell = tell
        self._pending: set[asyncio.Task[Answer]] = set()
        self.faults: list[WireFault] = []
        self.sent = 0

    def forget(self) -> None:
        """Begin anew: no faults, nothing under way."""
        self.faults.clear()
        self._pending.clear()
        self.sent = 0

    def carry(self, method: str, url: str, headers: dict[str, str], body: bytes, patience: float) -> Answer:
        """Carry one request and return the answer.

        Raises:
            requests.RequestException: as `requests` does for what the wire did.
        """
        parts = urlsplit(url)
        kind = kind_of(method, parts.path)
        fault = next((each for each in self.faults if each.takes(kind)), None)
        self.sent += 1
        name = fault.fault if fault else "-"
        about = f"{parts.path.removeprefix('/v2')}?{parts.query}" if parts.query else parts.path.removeprefix("/v2")
        self.tell(f"    {method} {about} {body.decode()} [{name}]")
        request = self._request(method, parts.path, parts.query, headers, body, fault.seconds if fault else 0.0)
        if name in _NEVER_ARRIVES:
            request.close()
            self._clock.sleep(LATENCY_SECONDS)
            return Answer(*_canned(name))
        if name in ("lost", "reset"):
            request.close()
            return self._nothing_comes(name, patience)
        answer = self._clock.run(self._waited(request, patience))
        if answer is None or name in ("answer lost", "answer reset"):
            return self._nothing_comes("answer lost" if answer is None else name, patience, waited=answer is None)
        return _spoilt(name, answer)

    async def _waited(self, request: Any, patience: float) -> Answer | None:
        task = asyncio.ensure_future(request)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        done, _ = await asyncio.wait({task}, timeout=patience)
        return task.result() if done else None

    def _nothing_comes(self, name: str, patience: float, *, waited: bool = False) -> Answer:
        if name.endswith("reset"):
            raise requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))
        if not waited:
            self._clock.sleep(patience)
        raise requests.ReadTimeout(f"Read timed out. (read timeout={patience})")

    async def _request(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes, delay: float
    ) -> Answer:
        await asyncio.sleep(LATENCY_SECONDS + delay)
        return await self.direct(method, path, headers, body, query)

    async def direct(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", query: str = ""
    ) -> Answer:
        """Ask the app without a wire between."""
        status, found, parts = 0, [], []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, found
            if message["type"] == "http.response.start":
                status = message["status"]
                found = [(name.decode(), value.decode()) for name, value in message["headers"]]
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return Answer(status, found, b"".join(parts))


def _canned(name: str) -> tuple[int, list[tuple[str, str]], bytes]:
    status, body = _CANNED[name]
    kind = "application/json" if body.startswith(b"{") else "text/html"
    headers = [("content-type", kind), ("content-length", str(len(body)))]
    if status == 302:
        headers.append(("location", "https://example.invalid/login"))
    return status, headers, body


def _spoilt(name: str, answer: Answer) -> Answer:
    if name in _CANNED:
        return Answer(*_canned(name))
    if name == "truncated":
        return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
    return answer


class _Line(HTTPAdapter):
    """Stands where `requests` would open a socket."""

    carry: Callable[..., Answer]

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        _, patience = options["timeout"]
        body = request.body or b""
        answer = self.carry(
            request.method,
            request.url,
            {name: str(value) for name, value in request.headers.items()},
            body.encode() if isinstance(body, str) else body,
            patience,
        )
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(answer.body),
            headers=urllib3.HTTPHeaderDict(list(answer.headers)),
            status=answer.status,
            preload_content=False,
            enforce_content_length=True,
            request_method=request.method,
        )
        return self.build_response(request, raw)


class SimulatedAdapter(BoundedAdapter, _Line):
    """Our own bounded adapter on a simulated line instead of a socket."""

    def _read_body(self, response: requests.Response) -> None:
        """Read what is in memory: it can't trickle, so nobody has to watch over it."""
        _ = response.content
