"""Which symbols bars are loaded of, and from when on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from src.services.data_ingestion.ports import SymbolBook
from src.shared.ports.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class SymbolsToLoad:
    """What to load, by the tables."""

    work: UnitOfWork[SymbolBook]

    def active(self) -> list[str]:
        """List, sorted, the symbols of interest that are not known to be inactive or delisted.

        These are the symbols of pairs that are candidates, watched, traded or closing, or that have an unfinished
        trade, and those that were loaded before. What a slot needs at once is less: strategy's `symbols_to_watch`.
        """
        with self.work() as work:
            return work.repo.active()

    def starts(
        self, vendor: str, timeframe: str, symbols: Sequence[str], first: datetime
    ) -> dict[datetime, tuple[str, ...]]:
        """Group symbols by where their next load begins: after the last finished one, or at `first` without any."""
        with self.work() as work:
            until = work.repo.loaded_until(vendor, timeframe, symbols)
        groups: dict[datetime, list[str]] = {}
        for symbol in sorted(set(symbols)):
            groups.setdefault(until.get(symbol, first), []).append(symbol)
        return {start: tuple(group) for start, group in sorted(groups.items())}
