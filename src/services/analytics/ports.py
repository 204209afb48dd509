"""What analytics needs from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from src.services.analytics.domain.results import FinishedTrade, TradeResult


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
