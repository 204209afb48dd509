"""Where requests to Yahoo go.

yfinance writes Yahoo's hosts into its code. With a base URL, what would go to https://HOST/PATH goes to BASE/PATH: to
the offline twin, or to whatever stands before Yahoo.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Route:
    """Where requests go and how long they may take. Without `base_url` they go to Yahoo's own hosts."""

    base_url: str | None
    connect_seconds: float
    read_seconds: float

    def of(self, url: str) -> str:
        """Return the address that a request of yfinance is sent to."""
        if self.base_url is None:
            return url
        parts = urlsplit(url)
        return f"{self.base_url.rstrip('/')}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"

    @property
    def is_loopback(self) -> bool:
        """Whether a proxy of the environment has no business in between."""
        return self.base_url is not None and urlsplit(self.base_url).hostname in _LOOPBACK
