"""The only place that touches polygon-api-client: single requests, whole lists, all of it or an error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlsplit

import tenacity
from pydantic import SecretStr

from src.services.data_ingestion.adapters.polygon.errors import excerpt, refused, translate
from src.services.data_ingestion.adapters.polygon.transport import BoundedPool, Unwelcome
from src.shared.domain.errors import TradewindsError, Transient
from src.shared.infra.redaction import Redactor
from src.shared.ports.rate_limit import RateLimiter

T = TypeVar("T")
Ask = Callable[[Any], Any]
Row = dict[str, Any]

CLIENT = f"polygon-api-client {version('polygon-api-client')}"
ATTEMPTS = 3
_PAUSE_SECONDS = 60.0
_DONE = frozenset({"OK", "DELAYED"})
# The vendor goes by both names, and its pages point from the one to the other.
_SAME_HOSTS = frozenset({"api.polygon.io", "api.massive.com"})


@dataclass(frozen=True)
class Endpoint:
    """Where Polygon.io is, the key, and the longest waits in seconds."""

    url: str
    key: SecretStr
    connect_seconds: float
    read_seconds: float


class Wire:
    """Asks Polygon.io. Safe to use from several threads; nothing connects before the first request."""

    def __init__(self, endpoint: Endpoint, limiter: RateLimiter, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take the endpoint and the limit; `sleep` waits between attempts."""
        self._endpoint = endpoint
        self._limiter = limiter
        self._sleep = sleep
        self._hide = Redactor((endpoint.key.get_secret_value(),))

    @cached_property
    def _client(self) -> Any:
        # Importing it is slow, and reads a variable of the environment as a default key.
        from polygon import RESTClient

        key, at = self._endpoint.key.get_secret_value(), self._endpoint
        client = RESTClient(api_key=key, base=at.url.rstrip("/"), retries=0, pagination=False)
        client.client = BoundedPool(client.headers, at.connect_seconds, at.read_seconds)
        return client

    def plain(self, what: str, ask: Ask) -> Any:
        """Ask for what has no status and no results of its own.

        Raises:
            Transient: no usable answer, also after some attempts; asking again is harmless.
            Refused: the vendor said no.
        """
        return self._patiently(partial(self._answer, what, ask))

    def pages(self, what: str, ask: Ask) -> Iterator[list[Row]]:
        """Ask for a list, page by page: all of it, or an error. Raises as `plain`."""
        seen: set[str] = set()
        while True:
            rows, next_url = self._patiently(partial(self._page, what, ask))
            yield rows
            if next_url is None:
                return
            if next_url in seen:
                raise Transient(f"Polygon.io, {what}: its pages repeat, they can't be read to their end.")
            seen.add(next_url)
            ask = _following(next_url)

    def _patiently(self, ask: Callable[[], T]) -> T:
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=1, max=30),
            retry=tenacity.retry_if_exception_type(Transient),
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                found = ask()
        return found

    def _page(self, what: str, ask: Ask) -> tuple[list[Row], str | None]:
        answer = self._object(what, ask)
        next_url = answer.get("next_url")
        return _rows(what, answer), None if next_url is None else self._checked_next(what, next_url)

    def _object(self, what: str, ask: Ask) -> Row:
        answer = self._answer(what, ask)
        if not isinstance(answer, dict):
            raise Transient(f"Polygon.io, {what}: an object was expected, not {type(answer).__name__}.")
        status = answer.get("status")
        if status in _DONE:
            return answer
        said = self._hide(excerpt(str(answer.get("error") or answer.get("message") or "no reason is given")))
        if status == "NOT_AUTHORIZED":
            raise refused(what, "NOT_AUTHORIZED", said)
        raise Transient(f"Polygon.io, {what}: status {excerpt(str(status))} with HTTP 200: {said}")

    def _answer(self, what: str, ask: Ask) -> Any:
        self._limiter.take()
        try:
            response = ask(self._client)
        except Exception as error:
            self._mind_the_limit(error)
            # Without "from": the frames below hold the key.
            raise self._without_key(translate(error, what)) from None
        kind = str(response.headers.get("Content-Type", ""))
        if "json" not in kind.lower():
            raise Transient(f"Polygon.io, {what}: {excerpt(kind) or 'something'} came in the place of JSON.")
        try:
            return json.loads(response.data)
        except (ValueError, RecursionError):
            raise Transient(f"Polygon.io, {what}: the answer is no JSON.") from None

    def _without_key(self, error: TradewindsError) -> TradewindsError:
        error.args = (self._hide(str(error)), *error.args[1:])
        return error

    def _mind_the_limit(self, error: Exception) -> None:
        if isinstance(error, Unwelcome) and error.status == 429:
            self._limiter.pause(_seconds(error.headers))

    def _checked_next(self, what: str, next_url: Any) -> str:
        if not isinstance(next_url, str):
            raise Transient(f"Polygon.io, {what}: the next page's address is no text.")
        ours, theirs = (urlsplit(url).netloc for url in (self._endpoint.url, next_url))
        if ours != theirs and not {ours, theirs} <= _SAME_HOSTS:
            raise Transient(f"Polygon.io, {what}: the next page is said to be on {excerpt(theirs)}, not {ours}.")
        return next_url


def _rows(what: str, answer: Mapping[str, Any]) -> list[Row]:
    counts = [answer[name] for name in ("resultsCount", "count") if answer.get(name) is not None]
    rows = answer.get("results")
    if rows is None and counts and not any(counts):
        # So it says that there is nothing.
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient(f"Polygon.io, {what}: no list of results in the answer.")
    for count in counts:
        if count != len(rows):
            raise Transient(f"Polygon.io, {what}: {len(rows)} results came, {excerpt(str(count))} were announced.")
    return rows


def _following(next_url: str) -> Ask:
    # The client has no verb for one further page: this is what its own paging does.
    parts = urlsplit(next_url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return lambda client: client._get(path, raw=True)


def _seconds(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return _PAUSE_SECONDS
