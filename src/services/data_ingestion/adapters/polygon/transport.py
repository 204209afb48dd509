"""What the client's HTTP lacks: it ignores its own time-outs, repeats requests itself, and follows redirects."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import certifi
import urllib3

POOL_SIZE = 8


class Unwelcome(Exception):
    """An answer that is not a 200, with all that it said; the client would keep the body alone."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


class BoundedPool(urllib3.PoolManager):
    """Takes the place of the client's pool: one attempt, every wait bounded, the whole body too."""

    def __init__(self, headers: Mapping[str, str], connect_seconds: float, read_seconds: float) -> None:
        super().__init__(
            headers=headers,
            maxsize=POOL_SIZE,
            timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
            ca_certs=certifi.where(),
            cert_reqs="CERT_REQUIRED",
        )
        self._body_seconds = 3 * read_seconds

    def request(self, method: str, url: str, *_: Any, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send once and read the whole answer.

        Raises:
            Unwelcome: the answer is not a 200.
        """
        once = {"preload_content": False, "retries": False, "redirect": False}
        response = super().request(method, url, **{**options, **once})
        body = self._read(response)
        if response.status != 200:
            raise Unwelcome(response.status, response.headers, body)
        return response

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        # A body that trickles keeps every single read within its bound.
        watchdog = threading.Timer(self._body_seconds, response.shutdown)
        watchdog.daemon = True
        watchdog.start()
        try:
            return response.data
        finally:
            watchdog.cancel()
