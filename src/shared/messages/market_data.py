"""What data ingestion says."""

from __future__ import annotations

from typing import ClassVar

from src.shared.messages.base import Event


class MarketDataStored(Event):
    """Bars of a load have been stored. `rows` were written, `rejected` failed the quality gate."""

    speaker: ClassVar[str] = "market_data"
    aggregate: ClassVar[str] = "load_run"

    vendor: str
    symbols: tuple[str, ...]
    rows: int
    rejected: int
    complete: bool


class SeriesRebased(Event):
    """A whole series of bars was read anew on another basis of prices, which are `factor` times the earlier ones.

    A fit on bars up to `occurred_at` or before is of the old basis.
    """

    speaker: ClassVar[str] = "market_data"
    aggregate: ClassVar[str] = "series"

    vendor: str
    symbol: str
    timeframe: str
    adjustment: str
    factor: float
    reason: str
