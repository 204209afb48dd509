"""One load: what it is about, how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import numpy as np

from src.services.data_ingestion.domain.gate import Rejection
from src.services.data_ingestion.domain.grid import Span
from src.services.data_ingestion.domain.plan import Ask
from src.shared.domain.bars import HOURLY, BarColumns, as_datetime, as_moments
from src.shared.domain.ids import derived_id, slot_key

VENDOR = "alpaca"
ADJUSTMENT: Final = "split"
"""Splits are taken out, dividends not: returns across a split are real, and prices are those that were traded at."""

PROBLEMS_KEPT = 200
REBASED = 0.005

LoadState = Literal["complete", "partial", "failed"]


@dataclass(frozen=True)
class LoadRequest:
    """The bars of `symbols` that are to be in the table: `spans` ends with the slot."""

    symbols: tuple[str, ...]
    spans: tuple[Span, ...]
    client: str = ""

    @property
    def slot(self) -> datetime:
        """The end of the newest bar."""
        return self.spans[-1][1]

    def run_id(self, attempt: int) -> UUID:
        """Name the n-th load of the same symbols up to the same slot, counted from 1."""
        return derived_id("load-run", VENDOR, HOURLY, slot_key(self.slot), ",".join(self.symbols), str(attempt))


@dataclass(frozen=True)
class StoredClose:
    """A close that is in the table, with the time of its bar."""

    start: datetime
    end: datetime
    close: float


@dataclass(frozen=True)
class LoadPlan:
    """A load that has begun: what is missing, what to ask for, and up to three stored closes just before it."""

    run_id: UUID
    missing: dict[str, list[Span]]
    asks: list[Ask]
    closes_before: dict[str, list[StoredClose]]


@dataclass
class Harvest:
    """What a load has brought in so far; it survives a failure half-way. `anew` are whole series on a new basis."""

    bars: dict[str, BarColumns] = field(default_factory=dict)
    anew: dict[str, BarColumns] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OpenLoad:
    """A load under way."""

    request: LoadRequest
    plan: LoadPlan
    harvest: Harvest = field(default_factory=Harvest)


@dataclass(frozen=True)
class LoadResult:
    """How a load went.

    `rows_missing` counts the bars of the window that the vendor did not have, `rows_rejected` those that failed the
    quality gate; `complete` says that every bar of every symbol is in the table now.
    """

    load_run_id: UUID
    rows_written: int
    rows_rejected: int
    rows_missing: int
    complete: bool
    problems: tuple[str, ...]
    digest: bytes | None = field(default=None, repr=False)

    @property
    def state(self) -> LoadState:
        """The state that the load's row ends in, unless it failed."""
        return "complete" if self.complete else "partial"


def is_rebased(bars: BarColumns, stored: Sequence[StoredClose]) -> bool:
    """Say whether a stored close, asked for again, has changed by more than half a per cent: a new price basis."""
    if not stored:
        return False
    again = np.isin(as_moments([item.end for item in stored]), bars.end)
    before = np.array([item.close for item in stored])[again]
    after = bars.close[np.isin(bars.end, as_moments([item.end for item in stored]))]
    return bool((np.abs(after / before - 1) > REBASED).any())


def summarise(plan: LoadPlan, harvest: Harvest, failure: str | None = None) -> LoadResult:
    """Count what was brought in against what was missing."""
    missing = {(symbol, span[1]) for symbol, spans in plan.missing.items() for span in spans}
    written = {(symbol, as_datetime(end)) for symbol, bars in harvest.bars.items() for end in bars.end}
    rejected = {(item.symbol, item.end) for item in harvest.rejected} - written
    absent = missing - written - rejected
    problems = [failure] if failure else []
    problems += harvest.problems + [str(item) for item in harvest.rejected] + _absent_lines(absent)
    return LoadResult(
        load_run_id=plan.run_id,
        rows_written=len(written),
        rows_rejected=len(harvest.rejected),
        rows_missing=len(absent),
        complete=failure is None and missing <= written,
        problems=tuple(problems[:PROBLEMS_KEPT]),
    )


def _absent_lines(absent: set[tuple[str, datetime]]) -> list[str]:
    ends: dict[str, list[datetime]] = {}
    for symbol, end in sorted(absent):
        ends.setdefault(symbol, []).append(end)
    return [
        f"{symbol}: {len(times)} bars missing, {times[0]:%Y-%m-%d %H:%MZ} to {times[-1]:%Y-%m-%d %H:%MZ}"
        for symbol, times in ends.items()
    ]
