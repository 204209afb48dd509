"""What the services need from a source of prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from src.shared.domain.vendor_data import Quote, VendorBar, VendorBars

Adjustment = Literal["raw", "split", "dividend", "all"]


class MarketDataSource(Protocol):
    """Prices as a vendor gives them: nothing is judged or filled in here."""

    def bars(
        self,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        timeframe: str = "30Min",
        adjustment: Adjustment = "split",
    ) -> dict[str, list[VendorBar]]:
        """Read the bars that start in [start, end), oldest first; every symbol asked for has a list.

        Raises:
            Transient: no usable answer; reading again is harmless.
            Refused: the keys or the request are not accepted.
        """
        ...

    def latest_quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """Read the latest quotes; a symbol without one is absent. Raises as `bars`."""
        ...


class BarSource(Protocol):
    """One vendor's past bars, for loads of any length: nothing is judged or filled in here."""

    @property
    def vendor(self) -> str:
        """Name under which its bars are stored: alpaca, polygon or yahoo."""
        ...

    @property
    def client(self) -> str:
        """Library and version that brings them, such as "polygon-api-client 1.16.3"."""
        ...

    @property
    def made_from(self) -> Mapping[str, str]:
        """Which rows it is asked for to make the bars of a timeframe, such as {"1Hour": "30Min", "1Day": "1Day"}.

        Bars of a timeframe that is not here can't be had. Rows of 1Hour start with the session (09:30 New York), not
        with the clock; a row of 1Day may start at any moment of its New York day.
        """
        ...

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Read the rows of one symbol that start in [start, end), oldest first, page by page.

        `timeframe` is one of the rows' (a value of `made_from`). Safe to call from several threads.

        A symbol without bars then gives none; an answer that is not whole is an error, never an early end.

        Raises:
            Transient: no usable answer; reading again is harmless.
            UnknownSymbol: the vendor does not know the symbol.
            Refused: the keys, the plan or the request are not accepted.
        """
        ...
