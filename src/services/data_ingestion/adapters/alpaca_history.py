"""Past bars of Alpaca, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from importlib.metadata import version

from src.services.data_ingestion.domain.grid import HALF_HOURS
from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.errors import UnknownSymbol
from src.shared.domain.vendor_data import VendorBars
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.ports.market_data import Adjustment


class AlpacaHistory:
    """`BarSource` on the client of the broker: its feed, its limit of requests, its errors."""

    vendor = "alpaca"
    made_from: Mapping[str, str] = {HOURLY: HALF_HOURS, DAILY: DAILY}

    def __init__(self, client: AlpacaClient) -> None:
        self._client = client

    @cached_property
    def client(self) -> str:
        """Library and version."""
        return f"alpaca-py {version('alpaca-py')}"

    def history(
        self, symbol: str, start: datetime, end: datetime, timeframe: str, adjustment: Adjustment
    ) -> Iterator[VendorBars]:
        """Read the rows page by page; see `BarSource.history`."""
        found = False
        for page in self._client.bar_history(symbol, start, end, timeframe, adjustment):
            found = found or len(page) > 0
            yield page
        # Alpaca answers with no bars for what it has never heard of.
        if not found and not self._client.assets([symbol]):
            raise UnknownSymbol.of(self.vendor, symbol)
