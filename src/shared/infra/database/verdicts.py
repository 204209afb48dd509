"""Verdicts on stored series of bars: which are in force, and which of them keep a symbol from new trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from src.shared.domain.bars import Series
from src.shared.infra.database.closes import TRADED_SERIES


@dataclass(frozen=True)
class StoredVerdict:
    """A row of `data_quality`."""

    id: UUID
    series: Series
    rule: str
    severity: str
    passed: bool
    reason: str
    numbers: Mapping[str, Any]
    judged_at: datetime


# The newest word of each rule, whatever the market's clock said when it was given.
_IN_FORCE = """
    SELECT DISTINCT ON (symbol, timeframe, vendor, adjustment, rule)
           verdict_id, symbol, timeframe, vendor, adjustment, rule, severity, passed, reason, numbers, judged_at
      FROM data_ingestion.data_quality
     WHERE symbol = ANY (CAST(:symbols AS text[])) {which}
     ORDER BY symbol, timeframe, vendor, adjustment, rule, recorded_at DESC
"""

_ALL = text(_IN_FORCE.format(which=""))

_BLOCKING = text(
    "SELECT * FROM ("  # noqa: S608 (constants)
    + _IN_FORCE.format(
        which="AND timeframe = :timeframe AND vendor = :vendor AND adjustment = :adjustment AND recorded_at <= :at"
    )
    + ") AS verdict WHERE NOT passed AND severity = 'block' ORDER BY symbol, rule"
)


def verdicts_in_force(connection: Connection, symbols: Sequence[str]) -> list[StoredVerdict]:
    """Read what is in force on every series of the symbols, passed or not, by series and rule."""
    return [_verdict(row) for row in connection.execute(_ALL, {"symbols": list(symbols)})]


def blocking_verdicts(
    connection: Connection, symbols: Sequence[str], at: datetime | None = None
) -> list[StoredVerdict]:
    """Read what blocks on the series that decisions are made from, by symbol and rule, in one statement.

    `at` asks for what was in force at that time of the database's own clock, instead of now.
    """
    asked = {"symbols": list(symbols), "at": at or "infinity", **TRADED_SERIES}
    return [_verdict(row) for row in connection.execute(_BLOCKING, asked)]


def _verdict(row: Any) -> StoredVerdict:
    series = Series(row.symbol, row.timeframe, row.vendor, row.adjustment)
    return StoredVerdict(
        row.verdict_id, series, row.rule, row.severity, row.passed, row.reason, row.numbers, row.judged_at
    )
