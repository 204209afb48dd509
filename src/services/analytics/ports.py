"""What analytics needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np

from src.services.analytics.domain.indicators import IndicatorRows, IndicatorSet, LatestIndicators
from src.services.analytics.domain.results import FinishedTrade, TradeResult
from src.services.analytics.domain.staleness import StandingRows
from src.shared.domain.bars import BarKind, StoredBars


class ResultsRepository(Protocol):
    """Finished trades and their recorded results, within one transaction."""

    def unrecorded_trades(self, slot: datetime) -> list[FinishedTrade]:
        """List closed and unwound trades whose result is missing, or was taken before a late fill changed them.

        One without a closing slot counts as `slot`'s.
        """
        ...

    def save_result(self, result: TradeResult) -> int | None:
        """Store a result and return its version, above 1 for a correction; None when it was stored before."""
        ...

    def results(self) -> list[TradeResult]:
        """Read all recorded results, oldest first."""
        ...


class IndicatorRepository(Protocol):
    """Stored bars and the indicators made from them, within one transaction."""

    def stored_series(self) -> dict[BarKind, list[str]]:
        """List the symbols of each kind of which bars are stored, in order."""
        ...

    def hold(self, kind: BarKind, symbols: Sequence[str]) -> None:
        """Keep others from writing these series until the transaction ends; waits for whoever does so now."""
        ...

    def up_to_date(self, kind: BarKind, symbols: Sequence[str], set_id: str) -> dict[str, int]:
        """Name the symbols of which no row is missing or stale, each with the number of its bars."""
        ...

    def bars(self, kind: BarKind, symbols: Sequence[str]) -> dict[str, StoredBars]:
        """Read the whole series; a symbol without bars is absent."""
        ...

    def standing(self, kind: BarKind, symbols: Sequence[str], set_id: str) -> dict[str, StandingRows]:
        """Read what each row was made from; a symbol without rows is absent."""
        ...

    def remove(self, kind: BarKind, begins: Mapping[str, np.datetime64]) -> None:
        """Remove the rows of each symbol from a time on."""
        ...

    def add(self, kind: BarKind, indicators: IndicatorSet, rows: Sequence[IndicatorRows]) -> None:
        """Write rows, and what their indicators are."""
        ...

    def latest(self, symbol: str) -> list[LatestIndicators]:
        """Read the newest row of every series of a symbol."""
        ...
