"""What the SDK's HTTP session lacks: a bound on every wait, and no trust in redirects."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Redirected(requests.RequestException):
    """The server pointed elsewhere; the SDK would take the body for an answer."""


class BoundedAdapter(HTTPAdapter):
    """Bounds connecting, every wait for bytes, and the whole body, which may otherwise trickle for ever.

    `on_response` sees the status and headers of every answer.
    """

    def __init__(
        self,
        connect_seconds: float,
        read_seconds: float,
        on_response: Callable[[requests.Response], None],
    ) -> None:
        super().__init__(max_retries=0)
        self._timeout = (connect_seconds, read_seconds)
        self._body_seconds = 3 * read_seconds
        self._on_response = on_response

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Send within the bounds; the caller's `stream` and `timeout` don't count."""
        response = super().send(request, **{**options, "stream": True, "timeout": self._timeout})
        self._read_body(response)
        self._on_response(response)
        if 300 <= response.status_code < 400:
            raise Redirected(f"HTTP {response.status_code}: redirected", response=response)
        return response

    def _read_body(self, response: requests.Response) -> None:
        watchdog = threading.Timer(self._body_seconds, response.raw.shutdown)
        watchdog.daemon = True
        watchdog.start()
        try:
            _ = response.content
        finally:
            watchdog.cancel()


def harden(
    client: Any,
    base_url: str,
    timeouts: tuple[float, float],
    on_response: Callable[[requests.Response], None],
) -> None:
    """Bound an SDK client's session and switch its own retries off: it would repeat a POST after 429 and 504."""
    client._retry = 0
    session: requests.Session = client._session
    # A proxy or .netrc of the environment has no business between us and a server on this machine.
    session.trust_env = urlsplit(base_url).hostname not in LOOPBACK
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(*timeouts, on_response))
