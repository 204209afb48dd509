"""yfinance, hardened: its cookies and crumbs, its addresses, and none of its silence.

yfinance's `Ticker` makes an empty table of an outage, keeps failed answers in memory for the life of the process, and
loses a whole statement for one odd cell. So what it is used for is what it knows best, the way to Yahoo (`YfData`:
cookie, crumb, consent, a browser's handshake); the answers are read here.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from src.services.data_ingestion.adapters.yahoo import library
from src.services.data_ingestion.adapters.yahoo.answers import Raw, YahooSaid, content_of
from src.services.data_ingestion.adapters.yahoo.route import Route
from src.shared.domain.errors import Refused, TradewindsError, Transient, UnknownSymbol
from src.shared.domain.ids import parse_symbol
from src.shared.ports.rate_limit import RateLimiter

_SERIES_PER_REQUEST = 160
_EVENTS = "div,splits,capitalGains"


class YahooClient:
    """Single questions to Yahoo, each answered once or with an error of ours. Safe to use from several threads."""

    def __init__(self, route: Route, limiter: RateLimiter) -> None:
        self._route = route
        self._limiter = limiter
        self._lock = threading.Lock()
        self._way: Any = None

    @property
    def library(self) -> str:
        """Name and version of the library that goes the way."""
        from importlib.metadata import version

        return f"yfinance {version('yfinance')}"

    def chart(self, symbol: str, start: int, end: int, interval: str) -> Raw | None:
        """Read the chart of a symbol between two epoch seconds; None where Yahoo has nothing in between.

        Raises:
            Transient: no usable answer.
            Refused: Yahoo does not know the symbol, or does not keep what was asked for.
        """
        asked = {"period1": start, "period2": end, "interval": interval, "includePrePost": False, "events": _EVENTS}
        results = self._ask("chart", f"/v8/finance/chart/{_spelled(symbol)}", asked, symbol)
        return None if results is None else self._only(results, symbol)

    def summary(self, symbol: str, modules: Sequence[str]) -> Raw | None:
        """Read modules of the quote summary; None where Yahoo has none of them for the symbol. Raises as `chart`."""
        asked = {"modules": ",".join(modules), "corsDomain": "finance.yahoo.com", "formatted": "false"}
        results = self._ask("quoteSummary", f"/v10/finance/quoteSummary/{_spelled(symbol)}", asked, symbol)
        return None if results is None else self._only(results, symbol)

    def timeseries(self, symbol: str, types: Sequence[str], start: int, end: int) -> list[Raw]:
        """Read time series of a company's books, by their names at Yahoo. Raises as `chart`."""
        name = _spelled(symbol)
        path = f"/ws/fundamentals-timeseries/v1/finance/timeseries/{name}"
        found: list[Raw] = []
        # In parts: addresses of more than some kilobytes are dropped on the way.
        for at in range(0, len(types), _SERIES_PER_REQUEST):
            part = ",".join(types[at : at + _SERIES_PER_REQUEST])
            asked = {"symbol": name, "type": part, "period1": start, "period2": end}
            found += self._ask("timeseries", path, asked, symbol) or []
        return found

    def _only(self, results: Sequence[Any], symbol: str) -> Raw:
        if len(results) != 1 or not isinstance(results[0], dict):
            raise Transient(f"Yahoo answers with {len(results)} results for {symbol}")
        return results[0]

    def _ask(self, root: str, path: str, asked: Mapping[str, Any], symbol: str) -> list[Any] | None:
        try:
            host = library.yfinance().const._BASE_URL_
            response = self._data().get(f"{host}{path}", params=dict(asked))
            self._check_accepted(response.status_code)
            return content_of(response.text, root)
        except YahooSaid as said:
            if said.means_nothing_there:
                return None
            raise _refusal(said, symbol) from None
        except TradewindsError:
            raise
        # yfinance and curl raise anything from OSError to KeyError on what they did not expect.
        except Exception as error:
            raise Transient(f"Yahoo can't be asked for {symbol}: {_named(error)}") from error

    def _data(self) -> Any:
        with self._lock:
            if self._way is None:
                self._way = _new_way(self._route, self._limiter)
            return self._way

    def _check_accepted(self, status: int) -> None:
        if status in (401, 403):
            self._forget()
            raise Transient(f"Yahoo does not accept the cookie and crumb (HTTP {status})")

    def _forget(self) -> None:
        """Begin with a new cookie and crumb next time."""
        with self._lock:
            self._way = None
            library.yfinance().cache.get_cookie_cache().store("curlCffi", None)


def _new_way(route: Route, limiter: RateLimiter) -> Any:
    _keep_caches_apart()
    session = library.bounded_session()(route, limiter)
    # Past its metaclass, which would hand out one instance to the whole process, with the first one's session.
    return type.__call__(library.yfinance().data.YfData, session)


@cache
def _keep_caches_apart() -> tempfile.TemporaryDirectory[str]:
    """Let yfinance keep its cookie in a folder of this process, not in the person's cache."""
    yfinance = library.yfinance()
    folder = tempfile.TemporaryDirectory(prefix="tradewinds-yfinance-", ignore_cleanup_errors=True)
    yfinance.set_tz_cache_location(folder.name)
    yfinance.config.debug.hide_exceptions = False
    return folder


def _refusal(said: YahooSaid, symbol: str) -> Exception:
    if said.means_unknown_symbol:
        return UnknownSymbol(f"Yahoo does not know {symbol}: {said.description}", str(said.status))
    if said.status in (200, 404):
        return Transient(f"{symbol}: {said}")
    return Refused(f"{symbol}: {said}", str(said.status))


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no word'}"


def _spelled(symbol: str) -> str:
    """Spell a symbol as Yahoo does: BRK-B."""
    return parse_symbol(symbol).replace(".", "-")
