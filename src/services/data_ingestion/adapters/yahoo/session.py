"""The HTTP session that yfinance is given: every wait bounded, every request counted, hosts exchanged where asked.

Importing curl_cffi is slow: the client does so at first use.
"""

from __future__ import annotations

from typing import Any

from curl_cffi.requests import Response, Session

from src.services.data_ingestion.adapters.yahoo.answers import YahooSaid, explained
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.shared.domain.errors import Transient
from src.shared.ports.rate_limit import RateLimiter

_COOKIE_PAGE = "https://fc.yahoo.com"
_CRUMB_PATH = "/v1/test/getcrumb"
_API_HOSTS = ("https://query1.finance.yahoo.com/", "https://query2.finance.yahoo.com/")
_PAUSE_SECONDS = 60.0


class BoundedSession(Session[Response]):
    """A browser's session, as yfinance makes one, that waits for a permit and never for ever.

    An answer that settles the question (429, 5xx, a refusal with its reason) is raised here: yfinance would look for
    another cookie and ask once more.
    """

    def __init__(self, route: Route, limiter: RateLimiter) -> None:
        super().__init__(impersonate="chrome", trust_env=not route.is_loopback)
        self._route = route
        self._limiter = limiter
        self._cookie_page: Response | None = None

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> Response:
        """Send one request.

        Raises:
            Transient: no permit, too many requests, or a server in trouble.
            YahooSaid: Yahoo understood and said no.
        """
        if url == _COOKIE_PAGE and self._cookie_page is not None:
            return self._cookie_page
        self._limiter.take()
        bounds = (self._route.connect_seconds, self._route.read_seconds)
        options |= {"timeout": bounds} | self._unless_yahoo_itself()
        response = super().request(method, self._route.of(url), *args, **options)
        self._mind_the_limit(response)
        if url == _COOKIE_PAGE:
            self._cookie_page = response
        # Without cookie, crumb and consent bars still come: what becomes of those is for yfinance to judge.
        elif url.startswith(_API_HOSTS) and not url.endswith(_CRUMB_PATH):
            _check(response)
        return response

    def _unless_yahoo_itself(self) -> dict[str, Any]:
        # A stand-in leads nowhere else, and speaks the HTTP of plain sockets.
        return {} if self._route.base_url is None else {"allow_redirects": False, "http_version": "v1"}

    def _mind_the_limit(self, response: Response) -> None:
        if response.status_code == 429:
            self._limiter.pause(_seconds_asked_for(response))
            raise Transient("Yahoo has had too many requests; nothing more is asked for a while")


def _check(response: Response) -> None:
    status = response.status_code
    if status >= 500 or 300 <= status < 400:
        raise Transient(f"Yahoo answered HTTP {status}")
    if status in (400, 404, 422):
        said = explained(response.text)
        if said is not None:
            raise YahooSaid(status, *said)


def _seconds_asked_for(response: Response) -> float:
    try:
        return max(1.0, float(response.headers["Retry-After"] or ""))
    except (KeyError, ValueError):
        return _PAUSE_SECONDS
