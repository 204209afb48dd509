"""Past bars of Polygon.io, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from src.services.data_ingestion.adapters.polygon import parsing
from src.services.data_ingestion.adapters.polygon.reference import PolygonReference
from src.services.data_ingestion.adapters.polygon.wire import CLIENT, Wire
from src.services.data_ingestion.domain.grid import HALF_HOURS
from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.errors import InputInvalid, Transient, UnknownSymbol
from src.shared.domain.ids import parse_symbol
from src.shared.domain.vendor_data import VendorBars
from src.shared.ports.market_data import Adjustment

MOST_A_PAGE = 50_000
_NEW_YORK = ZoneInfo("America/New_York")
_WIDTHS = {HALF_HOURS: (30, "minute"), DAILY: (1, "day")}
_ADJUSTED: dict[str, bool] = {"raw": False, "split": True}
_TICK = timedelta(microseconds=1)


class PolygonHistory:
    """`BarSource` on Polygon.io: half hours with extended hours among them, and days. Adjusted for splits at most."""

    vendor = parsing.VENDOR
    # Its own hours mix what was before the open with what came after it.
    made_from: Mapping[str, str] = {HOURLY: HALF_HOURS, DAILY: DAILY}

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._reference = PolygonReference(wire)
        self._known: set[str] = set()

    @property
    def client(self) -> str:
        """Library and version."""
        return CLIENT

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Read the rows page by page; a row of a day counts as within [start, end) with any part of that day.

        Raises:
            InputInvalid: Polygon.io has no such timeframe or adjustment.
            Transient: no usable answer, or one that is not whole.
            UnknownSymbol: it lists no such symbol.
            Refused: key or plan do not allow it.
        """
        if adjustment not in _ADJUSTED:
            raise InputInvalid(f"Polygon.io's bars are raw or adjusted for splits, not {adjustment!r}.")
        if timeframe not in _WIDTHS:
            raise InputInvalid(f"Polygon.io is asked for {' or '.join(_WIDTHS)}, not for {timeframe!r}.")
        # The symbol becomes part of an address.
        return self._pages(parse_symbol(symbol), start, end, timeframe, adjusted=_ADJUSTED[adjustment])

    def _pages(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, *, adjusted: bool
    ) -> Iterator[VendorBars]:
        multiplier, span = _WIDTHS[timeframe]
        first, last = _window(start, end, timeframe)

        def ask(client: Any) -> Any:
            return client.list_aggs(
                symbol, multiplier, span, first, last, adjusted=adjusted, sort="asc", limit=MOST_A_PAGE, raw=True
            )

        newest = np.datetime64("NaT", "us")
        for rows in self._wire.pages(f"bars of {symbol}", ask):
            page = parsing.bars(symbol, rows)
            if not len(page):
                continue
            if page.start[0] <= newest:
                raise Transient(f"Polygon.io, bars of {symbol}: a page begins before the last one ended.")
            newest = page.start[-1]
            self._known.add(symbol)
            yield page
        self._must_know(symbol)

    def _must_know(self, symbol: str) -> None:
        """Tell a symbol without bars from one that there is not: the vendor answers both alike."""
        if symbol not in self._known and not self._reference.listing(symbol).rows:
            raise UnknownSymbol.of(self.vendor, symbol)
        self._known.add(symbol)


def _window(start: datetime, end: datetime, timeframe: str) -> tuple[Any, Any]:
    """Return what stands in the address: both ends are included there."""
    if timeframe == DAILY:
        return start.astimezone(_NEW_YORK).date(), (end - _TICK).astimezone(_NEW_YORK).date()
    # Milliseconds, and none of the next bar.
    return start, int(end.timestamp() * 1000) - 1
