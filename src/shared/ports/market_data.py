"""What the services need from a source of prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from src.shared.domain.vendor_data import Quote, VendorBar

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
