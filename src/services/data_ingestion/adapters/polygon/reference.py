"""Listings, splits and dividends of Polygon.io."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, TypeVar

from src.services.data_ingestion.adapters.polygon import parsing
from src.services.data_ingestion.adapters.polygon.wire import CLIENT, Wire
from src.services.data_ingestion.domain.reference import Dividend, Found, Listing, MarketStatus, StockSplit

V = TypeVar("V", StockSplit, Dividend)
Read = Callable[[Mapping[str, Any]], V]
Row = dict[str, Any]

MOST_A_PAGE = 1_000
WHOLE_LIST_FROM = 10
"""From so many symbols on, one list of all that is listed costs fewer requests than one for each."""


class PolygonReference:
    """`ReferenceSource` on Polygon.io."""

    vendor = parsing.VENDOR

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def client(self) -> str:
        """Library and version."""
        return CLIENT

    def market_status(self) -> MarketStatus:
        """Say whether the market is open."""
        ask = self._wire.plain("market status", lambda client: client.get_market_status(raw=True))
        return parsing.market_status(ask)

    def listings(self, symbols: Sequence[str]) -> Found[Listing]:
        """Read how symbols are listed; one that was never listed is absent."""
        found: Found[Listing] = Found()
        wanted = set(symbols)
        if len(wanted) >= WHOLE_LIST_FROM:
            for rows in self._tickers(active=True):
                parsing.read_rows((row for row in rows if row.get("ticker") in wanted), parsing.listing, found)
            wanted -= {each.symbol for each in found.rows}
        for symbol in sorted(wanted):
            one = self.listing(symbol)
            found.rows += one.rows
            found.rejected += one.rejected
        return found

    def listing(self, symbol: str) -> Found[Listing]:
        """Read how one symbol is listed, or was."""
        found: Found[Listing] = Found()
        for active in (True, False):
            for rows in self._tickers(symbol, active=active):
                parsing.read_rows(rows, parsing.listing, found)
            if found.rows or found.rejected:
                break
        return found

    def splits(self, symbols: Sequence[str], since: date | None) -> Found[StockSplit]:
        """Read the splits of symbols: all there are, or those from a day on, which is cheaper for many symbols."""

        def ask(client: Any, symbol: str | None) -> Any:
            return client.list_splits(
                ticker=symbol,
                execution_date_gte=since,
                order="asc",
                sort="execution_date",
                limit=MOST_A_PAGE,
                raw=True,
            )

        return self._events("splits", ask, parsing.split, symbols, since)

    def dividends(self, symbols: Sequence[str], since: date | None) -> Found[Dividend]:
        """Read the dividends of symbols; see `splits`."""

        def ask(client: Any, symbol: str | None) -> Any:
            return client.list_dividends(
                ticker=symbol,
                ex_dividend_date_gte=since,
                order="asc",
                sort="ex_dividend_date",
                limit=MOST_A_PAGE,
                raw=True,
            )

        return self._events("dividends", ask, parsing.dividend, symbols, since)

    def _events(
        self,
        what: str,
        ask: Callable[..., Any],
        read: Read[V],
        symbols: Sequence[str],
        since: date | None,
    ) -> Found[V]:
        wanted, found = set(symbols), Found[V]()
        # From a day on, one list of the whole market takes the place of one for each symbol.
        for asked in (None,) if since is not None and len(wanted) >= WHOLE_LIST_FROM else sorted(wanted):
            name = what if asked is None else f"{what} of {asked}"
            for rows in self._wire.pages(name, partial(ask, symbol=asked)):
                parsing.read_rows((row for row in rows if row.get("ticker") in wanted), read, found)
        return _without_doubles(found)

    def _tickers(self, symbol: str | None = None, *, active: bool) -> Iterator[list[Row]]:
        what = "tickers" if symbol is None else f"ticker {symbol}"

        def ask(client: Any) -> Any:
            return client.list_tickers(
                ticker=symbol, market="stocks", active=active, order="asc", sort="ticker", limit=MOST_A_PAGE, raw=True
            )

        return self._wire.pages(what, ask)


def _without_doubles(found: Found[V]) -> Found[V]:
    """Set aside what the vendor has twice with other terms: it does not say which ones are right."""
    kept: dict[tuple[object, ...], V] = {}
    for row in found.rows:
        if row.key in kept and kept[row.key] != row:
            found.set_aside(row.symbol, "the vendor has another one of the same day and kind", {"row": str(row)})
        kept.setdefault(row.key, row)
    found.rows = list(kept.values())
    return found
