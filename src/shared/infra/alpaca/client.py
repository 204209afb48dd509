"""alpaca-py, hardened: every wait bounded, nothing repeated, answers read with tolerance, failures named."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from src.shared.domain.bars import as_moments
from src.shared.domain.corporate_actions import AccountActivity, CorporateAction
from src.shared.domain.errors import InputInvalid, OutcomeUnknown, Refused, Transient
from src.shared.domain.ids import parse_symbol
from src.shared.domain.orders import (
    AccountReport,
    AssetReport,
    FillReport,
    MarketClock,
    OrderReport,
    PositionReport,
)
from src.shared.domain.vendor_data import Quote, VendorBar, VendorBars
from src.shared.infra.alpaca import parsing
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.alpaca.paging import action_pages, activity_pages, bar_pages, order_pages
from src.shared.infra.alpaca.parsing import Quarantined, Raw, Unreadable
from src.shared.ports.market_data import Adjustment
from src.shared.ports.rate_limit import RateLimiter

if TYPE_CHECKING:
    from src.shared.infra.alpaca.wire import Wire

T = TypeVar("T")

ASSETS_ONE_BY_ONE = 8
ASSETS_KEPT_SECONDS = 900.0
SYMBOLS_PER_REQUEST = 100
_NOT_FOUND = "40410000"
_QUARANTINED_KEPT = 1000


class AlpacaClient:
    """A `Broker` and a `MarketDataSource`. Safe to use from several threads.

    What can't be read in a list is kept aside, see `take_quarantined`; the rest of the list is returned.
    """

    def __init__(self, endpoints: Endpoints, limiter: RateLimiter, feed: str = "iex") -> None:
        self._endpoints = endpoints
        self._limiter = limiter
        self._feed = feed
        self._quarantined: deque[Quarantined] = deque(maxlen=_QUARANTINED_KEPT)
        self._assets: dict[str, tuple[float, AssetReport | None]] = {}
        self._lock = threading.Lock()

    def take_quarantined(self) -> list[Quarantined]:
        """Hand over, once, the objects that could not be read since the last call (the newest 1000)."""
        with self._lock:
            taken = list(self._quarantined)
            self._quarantined.clear()
        return taken

    # Market and account

    def clock(self) -> MarketClock:
        """Read the broker's clock; see `MarketClockSource.clock`."""
        # No pass begins without it, and exits wait for the pass.
        return self._object("clock", self._wire.read("/clock", urgent=True), parsing.clock)

    def account(self) -> AccountReport:
        """Read the account; see `AccountSource.account`."""
        return self._object("account", self._wire.read("/account"), parsing.account)

    def account_id(self) -> str:
        """Read whose account the keys open, and nothing else of it. Raises as `account`."""
        return self._object("account", self._wire.read("/account"), parsing.account_id)

    def positions(self) -> list[PositionReport]:
        """Read what the whole account holds in stocks; see `AccountSource.positions`."""
        return self._list("position", self._wire.read("/positions"), parsing.position)

    def positions_in(self, symbols: Collection[str]) -> list[PositionReport]:
        """Read what the whole account holds in these symbols, all of it; see `Broker.positions_in`."""
        found, bad = self._read_list("position", self._wire.read("/positions"), parsing.position)
        if unread := next((row for row in bad if row.symbol is None or row.symbol in symbols), None):
            raise Transient(f"Alpaca's position in {unread.symbol or 'some symbol'} can't be read: {unread.reason}")
        return [report for report in found if report.symbol in symbols]

    def assets(self, symbols: Sequence[str]) -> dict[str, AssetReport]:
        """Read what may be traded, at most a quarter of an hour old; see `AccountSource.assets`."""
        wanted = [parse_symbol(symbol) for symbol in symbols]
        unknown = [symbol for symbol in wanted if not self._is_known(symbol)]
        if len(unknown) > ASSETS_ONE_BY_ONE:
            self._remember(dict.fromkeys(unknown) | self._all_assets())
        else:
            self._remember({symbol: self._asset(symbol) for symbol in unknown})
        with self._lock:
            found = {symbol: self._assets[symbol][1] for symbol in wanted}
        return {symbol: asset for symbol, asset in found.items() if asset is not None}

    # Orders

    def submit_market_order(
        self, client_order_id: str, symbol: str, quantity: Decimal, *, urgent: bool = False
    ) -> OrderReport:
        """Send a day market order, once; see `Broker.submit_market_order`.

        Raises:
            InputInvalid: the symbol or the quantity can't be sent; nothing was.
        """
        parse_symbol(symbol)
        shares = _shares(quantity)
        side = "buy" if quantity > 0 else "sell"
        answer = self._wire.place(client_order_id, symbol, shares, side, urgent=urgent)
        try:
            report = self._object("order", answer, parsing.order)
        except Transient as error:
            raise OutcomeUnknown(str(error)) from None
        if (report.client_order_id, report.symbol, report.quantity) != (client_order_id, symbol, quantity):
            raise OutcomeUnknown(
                f"Alpaca answered order {client_order_id} with another one, {report.client_order_id}"
            )
        return report

    def order_by_client_id(self, client_order_id: str, *, urgent: bool = False) -> OrderReport | None:
        """Look an order up; see `Broker.order_by_client_id`."""
        answer = _unless_missing(lambda: self._wire.read_order(client_order_id, urgent=urgent))
        if answer is None:
            return None
        report = self._object("order", answer, parsing.order)
        if report.client_order_id != client_order_id:
            raise Transient(f"Alpaca answered the look-up of {client_order_id} with {report.client_order_id}")
        return report

    def open_orders(self) -> list[OrderReport]:
        """List all stock orders the broker still works on, oldest first; see `Broker.open_orders`."""
        return self._orders({"status": "open"})

    def orders_since(self, moment: datetime) -> list[OrderReport]:
        """List all stock orders placed after `moment`, oldest first; see `Broker.orders_since`."""
        return self._orders({"status": "all", "after": moment.isoformat()})

    def cancel_order(self, broker_order_id: str) -> None:
        """Ask to cancel; see `Broker.cancel_order`.

        Raises:
            InputInvalid: the id is not a UUID; nothing was sent.
        """
        self._wire.cancel(_checked_uuid(broker_order_id))

    def fills_since(self, moment: datetime) -> list[FillReport]:
        """List all executions after `moment`, oldest first; see `Broker.fills_since`."""
        pages = activity_pages(partial(self._wire.read, "/account/activities/FILL"), moment)
        unique = {fill.activity_id: fill for page in pages for fill in self._list("fill", page, parsing.fill)}
        return sorted(unique.values(), key=lambda fill: (fill.occurred_at, fill.activity_id))

    def account_activities(self, kinds: Sequence[str], since: datetime) -> list[AccountActivity]:
        """List what happened without a trade after `since`, oldest first; see `ActivitySource.account_activities`."""
        read = partial(self._wire.read, "/account/activities")
        pages = activity_pages(read, since, ",".join(kinds))
        unique = {each.id: each for page in pages for each in self._list("activity", page, parsing.activity)}
        return sorted(unique.values(), key=lambda each: (each.day, each.id))

    # Market data

    def corporate_actions(self, symbols: Sequence[str], start: date, end: date) -> list[CorporateAction]:
        """List the announced actions with a day in [start, end]; see `CorporateActionSource.corporate_actions`."""
        read = partial(self._wire.read_data, "/corporate-actions", version="v1")
        found: dict[str, CorporateAction] = {}
        for names in _batched([parse_symbol(symbol) for symbol in symbols]):
            asked = {"symbols": ",".join(names), "start": start.isoformat(), "end": end.isoformat()}
            for page in action_pages(read, asked):
                for kind, rows in page.items():
                    parse = partial(parsing.corporate_action, kind)
                    found |= {each.id: each for each in self._list("corporate action", rows or [], parse)}
        return sorted(found.values(), key=lambda each: (each.ex_date, each.id))

    def bars(
        self,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        timeframe: str = "30Min",
        adjustment: Adjustment = "split",
    ) -> dict[str, list[VendorBar]]:
        """Read the bars that start in [start, end); see `MarketDataSource.bars`."""
        found: dict[str, list[VendorBar]] = {parse_symbol(symbol): [] for symbol in symbols}
        for names in _batched(list(found)):
            for page in self._bar_pages(names, start, end, timeframe, adjustment):
                for name in names:
                    rows = page.get(name) or []
                    found[name] += self._list("bar", rows, partial(parsing.bar, name))
        return {name: _within(rows, start, end) for name, rows in found.items()}

    def bar_history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Read the bars of one symbol that start in [start, end) page by page, in columns, in Alpaca's order."""
        for page in self._bar_pages([parse_symbol(symbol)], start, end, timeframe, adjustment):
            rows = page.get(symbol) or []
            bars = parsing.bar_columns(symbol, rows)
            if bars is None:
                bars = VendorBars.of(symbol, self._list("bar", rows, partial(parsing.bar, symbol)))
            first, after = as_moments([start, end])
            yield bars.take((bars.start >= first) & (bars.start < after))

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Read the latest quotes; see `MarketDataSource.latest_quotes`."""
        found: dict[str, Quote] = {}
        for names in _batched([parse_symbol(symbol) for symbol in symbols]):
            params = {"symbols": ",".join(names), "feed": self._feed}
            answer = self._wire.read_data("/stocks/quotes/latest", params)
            quotes = self._object("quotes", answer, lambda raw: parsing.as_object(raw.get("quotes") or {}))
            for name in names:
                rows = [quotes[name]] if quotes.get(name) is not None else []
                found |= {quote.symbol: quote for quote in self._list("quote", rows, partial(parsing.quote, name))}
        return found

    # Private

    @cached_property
    def _wire(self) -> Wire:
        from src.shared.infra.alpaca.wire import Wire

        return Wire(self._endpoints, self._limiter)

    def _bar_pages(
        self, symbols: Sequence[str], start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[dict[str, Any]]:
        params = {
            "timeframe": timeframe,
            "start": start.isoformat(),
            "end": end.isoformat(),
            "adjustment": adjustment,
            "feed": self._feed,
            "sort": "asc",
            "symbols": ",".join(symbols),
        }
        return bar_pages(partial(self._wire.read_data, "/stocks/bars"), params)

    def _orders(self, params: Raw) -> list[OrderReport]:
        pages = order_pages(partial(self._wire.read, "/orders"), params)
        unique = {
            order.broker_order_id: order for page in pages for order in self._list("order", page, parsing.order)
        }
        return sorted(unique.values(), key=lambda order: (order.created_at, order.broker_order_id))

    def _object(self, kind: str, answer: Any, parse: Callable[[Raw], T | None]) -> T:
        try:
            parsed = parse(parsing.as_object(answer))
        except Unreadable as error:
            (aside,) = self._set_aside([parsing.quarantined(kind, error, answer)])
            raise Transient(f"Alpaca's {kind} can't be read: {aside.reason}") from None
        if parsed is None:
            raise Transient(f"Alpaca's {kind} is not about a stock")
        return parsed

    def _list(self, kind: str, answer: Any, parse: Callable[[Raw], T | None]) -> list[T]:
        return self._read_list(kind, answer, parse)[0]

    def _read_list(
        self, kind: str, answer: Any, parse: Callable[[Raw], T | None]
    ) -> tuple[list[T], list[Quarantined]]:
        bad: list[Quarantined] = []
        try:
            good = parsing.read_list(kind, answer, parse, bad)
        except Unreadable as error:
            raise Transient(f"Alpaca's answer can't be read: {error}") from None
        return good, self._set_aside(bad)

    def _set_aside(self, items: list[Quarantined]) -> list[Quarantined]:
        """Keep what can't be read, without our keys, and return it so."""
        hidden = [replace(item, reason=self._wire.hide(item.reason), raw=self._wire.hide(item.raw)) for item in items]
        with self._lock:
            self._quarantined.extend(hidden)
        return hidden

    def _is_known(self, symbol: str) -> bool:
        with self._lock:
            expires, _ = self._assets.get(symbol, (float("-inf"), None))
        return time.monotonic() < expires

    def _remember(self, assets: Mapping[str, AssetReport | None]) -> None:
        expires = time.monotonic() + ASSETS_KEPT_SECONDS
        with self._lock:
            self._assets |= {symbol: (expires, asset) for symbol, asset in assets.items()}

    def _asset(self, symbol: str) -> AssetReport | None:
        answer = _unless_missing(lambda: self._wire.read(f"/assets/{symbol}"))
        return None if answer is None else self._object("asset", answer, parsing.asset)

    def _all_assets(self) -> dict[str, AssetReport]:
        answer = self._wire.read("/assets", {"status": "active", "asset_class": "us_equity"})
        return {asset.symbol: asset for asset in self._list("asset", answer, parsing.asset)}


def _unless_missing(read: Callable[[], Any]) -> Any:
    try:
        answer = read()
    except Refused as refused:
        # The same code says that the path is unknown, which proves nothing about what was asked for.
        if refused.code == _NOT_FOUND and "endpoint" not in str(refused).lower():
            return None
        raise
    if answer is None:
        raise Transient("Alpaca's answer is empty")
    return answer


def _shares(quantity: Decimal) -> float:
    if not quantity.is_finite() or quantity == 0 or Decimal(str(float(abs(quantity)))) != abs(quantity):
        raise InputInvalid(f"{quantity} is not a number of shares that can be ordered.")
    return float(abs(quantity))


def _checked_uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InputInvalid(f"{text!r} is not an order id of the broker.") from None


def _within(rows: list[VendorBar], start: datetime, end: datetime) -> list[VendorBar]:
    return sorted((row for row in rows if start <= row.start < end), key=lambda row: row.start)


def _batched(symbols: list[str]) -> list[list[str]]:
    return [symbols[i : i + SYMBOLS_PER_REQUEST] for i in range(0, len(symbols), SYMBOLS_PER_REQUEST)]
