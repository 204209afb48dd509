"""What a study reads in PostgreSQL: closes of any series, and the registered pairs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from src.services.strategy_engine.adapters.sql_strategy import SqlStrategyRepository
from src.services.strategy_engine.domain.evaluation import WatchedPair
from src.shared.domain.bars import BarKind, BarSeries, CloseSeries
from src.shared.infra.database.closes import read_closes, read_whole_bars


class SqlStudyStore:
    """Implements `StudyStore` within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind) -> CloseSeries:
        """Read closes on a grid."""
        return read_closes(self._connection, symbols, ends, kind)

    def bars(self, symbols: Sequence[str], ends: Sequence[datetime], kind: BarKind) -> BarSeries:
        """Read whole bars on a grid."""
        return read_whole_bars(self._connection, symbols, ends, kind)

    def watched_pairs(self, slot: datetime) -> list[WatchedPair]:
        """Read the registry."""
        return SqlStrategyRepository(self._connection).watched_pairs(slot)
