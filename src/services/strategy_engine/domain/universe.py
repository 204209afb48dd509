"""Which symbols pairs are looked for among, and over which bars.

All symbols are searched over one window, so that their tests can be compared. It begins where most is gained of
symbols and bars together; a symbol whose bars begin later is left out, and told so. A hole is filled with the last
close before it for the scan alone: what is fitted and tried afterwards is what was really traded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.errors import InputInvalid

Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

# A halted hour here and there does no harm; with more of them a series is not one that can be traded by the hour.
LEAST_COVERAGE = 0.95
# A symbol may lack the first bars of the window, about a session of them.
_GRACE_BARS = 7
_LEAST_DEVIATION = 1e-10


class Exclusion(StrEnum):
    """Why a symbol is left out."""

    NOT_ACTIVE = "NOT_ACTIVE"
    DATA_BLOCKED = "DATA_BLOCKED"
    COMPANY_ACTION = "COMPANY_ACTION"
    REBASED = "REBASED"
    FEW_SESSIONS = "FEW_SESSIONS"
    STALE = "STALE"
    BEGINS_LATE = "BEGINS_LATE"
    HOLES = "HOLES"
    NEVER_MOVES = "NEVER_MOVES"


class NothingToSearch(InputInvalid):
    """There are no bars, or not even two symbols."""


@dataclass(frozen=True)
class Excluded:
    """A symbol that is left out, why, and the same in words."""

    symbol: str
    reason: Exclusion
    words: str


@dataclass(frozen=True, eq=False)
class Universe:
    """The S symbols to search, in alphabetical order, and those that were left out.

    `series` has their closes as they are stored, shape (T, S), over the window alone. `common_sessions` (S, S) counts
    the sessions that two of them have in common.
    """

    series: CloseSeries
    common_sessions: Ints
    excluded: tuple[Excluded, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in the order of the columns."""
        return self.series.symbols

    @property
    def digest(self) -> str:
        """Name what is searched."""
        return sha256("\n".join(self.symbols).encode()).hexdigest()

    def filled_logs(self) -> Floats:
        """Return log prices of shape (T, S), a hole filled with the price before it, or with the first after it."""
        closes = self.series.closes
        there = ~np.isnan(closes)
        rows = np.where(there, np.arange(len(closes))[:, None], there.argmax(axis=0))
        held = np.take_along_axis(closes, np.maximum.accumulate(rows, axis=0), axis=0)
        logs: Floats = np.log(held)
        return logs

    def counted(self) -> Mapping[Exclusion, int]:
        """Count those left out by the reason."""
        found = [each.reason for each in self.excluded]
        return {reason: found.count(reason) for reason in Exclusion if reason in found}


def choose_universe(
    series: CloseSeries,
    days: Sequence[date],
    least_sessions: int,
    excluded: Iterable[Excluded] = (),
) -> Universe:
    """Choose symbols and window. `days` has the session of each of the T slots of `series`.

    Those of `excluded` are left out for what is known of them. The others must have enough sessions, go on to the
    last one, have bars for 95 % of the window, and move at all.
    """
    known = {each.symbol: each for each in excluded}
    there = ~np.isnan(series.closes)  # (T, S)
    attended = _attended(there, days)  # (D, S)
    for column, symbol in enumerate(series.symbols):
        if symbol not in known and (fault := _too_little(attended[:, column], least_sessions)):
            known[symbol] = Excluded(symbol, *fault)
    columns = sorted(
        (column for column, symbol in enumerate(series.symbols) if symbol not in known),
        key=lambda column: series.symbols[column],
    )
    firsts = there.argmax(axis=0) if len(there) else np.zeros(there.shape[1], dtype=np.intp)
    start = _start(firsts[columns], days, least_sessions)
    keep = []
    for column in columns:
        symbol = series.symbols[column]
        if fault := _fault(series.closes[start:, column], days[firsts[column]], firsts[column] - start):
            known[symbol] = Excluded(symbol, *fault)
        else:
            keep.append(column)
    return Universe(
        CloseSeries(
            tuple(series.symbols[column] for column in keep), series.ends[start:], series.closes[start:, keep]
        ),
        _common(_attended(there[start:, keep], days[start:])),
        tuple(sorted(known.values(), key=lambda each: each.symbol)),
    )


def _attended(there: Flags, days: Sequence[date]) -> Flags:
    """Say of each session and symbol whether there is a bar; shape (D, S)."""
    if not len(days):
        return np.zeros((0, there.shape[1]), dtype=bool)
    begins = np.flatnonzero([True, *(day != before for before, day in pairwise(days))])
    found: Flags = np.logical_or.reduceat(there, begins, axis=0)
    return found


def _common(attended: Flags) -> Ints:
    numbers = attended.astype(np.float64)
    return (numbers.T @ numbers).astype(np.intp)


def _start(firsts: Ints, days: Sequence[date], least_sessions: int) -> int:
    """Choose the row where the window begins: the most symbols times bars, with enough sessions after it."""
    if not firsts.size:
        return 0
    begins = np.unique(firsts)
    gained = [int((firsts <= begin + _GRACE_BARS).sum()) * (len(days) - begin) for begin in begins.tolist()]
    enough = [len(set(days[begin:])) >= least_sessions for begin in begins.tolist()]
    best = int(np.argmax(np.where(enough, gained, 0)))
    return int(begins[best])


def _too_little(attended: Flags, least_sessions: int) -> tuple[Exclusion, str] | None:
    if (sessions := int(attended.sum())) < least_sessions:
        return Exclusion.FEW_SESSIONS, f"bars of {sessions} sessions, {least_sessions} needed"
    if not attended[-1]:
        return Exclusion.STALE, "no bar in the last session of the window"
    return None


def _fault(closes: Floats, since: date, late_by: int) -> tuple[Exclusion, str] | None:
    there = ~np.isnan(closes)
    if late_by > _GRACE_BARS:
        return Exclusion.BEGINS_LATE, f"its bars begin on {since}, {late_by} hours after the window's first"
    if (covered := float(there.mean())) < LEAST_COVERAGE:
        return Exclusion.HOLES, f"bars for {covered:.0%} of the window's hours, {LEAST_COVERAGE:.0%} needed"
    if np.log(closes[there]).std() < _LEAST_DEVIATION:
        return Exclusion.NEVER_MOVES, "its price never moves"
    return None
