"""What analytics needs from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from src.services.analytics.domain.results import FinishedTrade, TradeResult


class ResultsRepository(Protocol):
    """Finished trades and their recorded results, within one transaction."""

    def unrecorded_trades(self, slot: datetime) -> list[FinishedTrade]:
        """List closed and unwound trades without a recorded result; one without a closing slot counts as `slot`'s."""
        ...

    def add_result(self, result: TradeResult) -> bool:
        """Store a result and say whether it was new."""
        ...

    def results(self) -> list[TradeResult]:
        """Read all recorded results, oldest first."""
        ...
