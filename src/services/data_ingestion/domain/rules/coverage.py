"""Rules on time: what is missing, what is late, what stands where the exchange has no bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from src.services.data_ingestion.domain.rules.series import Hole, StoredSeries
from src.services.data_ingestion.domain.rules.timetable import shown
from src.services.data_ingestion.domain.rules.verdict import Number, Severity, Verdict, failed, passed


@dataclass(frozen=True)
class Completeness:
    """Every bar of the exchange's calendar is there, but for a small part; no session is missing as a whole."""

    max_missing_fraction: float
    name: ClassVar[str] = "completeness"
    severity: ClassVar[Severity] = "warning"

    def judge(self, series: StoredSeries) -> Verdict:
        """Count what is missing between the first and the newest bar."""
        numbers = {"expected": len(series.expected), "bars": len(series.places), "missing": series.missing}
        longest = series.longest_hole
        if longest is None:
            return passed(self, "no bar is missing", **numbers)
        sessions = _lost_sessions(series)
        found = {**numbers, "lost_sessions": sessions, **_hole_numbers(series, longest)}
        if sessions == 0 and series.missing <= self.max_missing_fraction * len(series.expected):
            return passed(self, "few bars are missing", **found)
        what = f"{series.missing} bars missing, {sessions} whole sessions, the most at once {_told(series, longest)}"
        return failed(self, what, **found)


@dataclass(frozen=True)
class LongHole:
    """No hole is so long that what comes after it may be on another footing than what came before."""

    max_sessions: int
    name: ClassVar[str] = "hole"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look at the longest run of missing bars."""
        longest = series.longest_hole
        if longest is None or longest.bars <= self.max_sessions * series.timetable.bars_a_session:
            return passed(self, "no long hole", longest_hole_bars=longest.bars if longest else 0)
        return failed(self, f"a hole of {_told(series, longest)}", **_hole_numbers(series, longest))


@dataclass(frozen=True)
class Staleness:
    """The newest finished bar is there.

    It warns and does not block: each decision looks for itself whether it has the bar of its slot, and this verdict
    would outlive the load that mends it.
    """

    max_sessions: int
    name: ClassVar[str] = "staleness"
    severity: ClassVar[Severity] = "warning"

    def judge(self, series: StoredSeries) -> Verdict:
        """Count the finished bars after the newest one."""
        if not len(series.places):
            return failed(self, "no bar at all", stale_bars=series.timetable.finished)
        newest = shown(series.timetable.ends[series.places[-1]])
        numbers: dict[str, Number] = {"stale_bars": series.stale_bars, "newest": newest}
        if series.stale_bars <= self.max_sessions * series.timetable.bars_a_session:
            return passed(self, "up to date", **numbers)
        return failed(self, f"the newest bar is of {newest}", **numbers)


@dataclass(frozen=True)
class Alignment:
    """Each bar is one of the calendar's (no holiday, no hour off by summer time), and is there once."""

    name: ClassVar[str] = "alignment"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look for bars that the calendar does not have, and for bars that are there twice."""
        ends = series.bars.end
        outside = np.flatnonzero(~series.on_time)
        twice = np.flatnonzero(ends[1:] <= ends[:-1]) + 1
        if not len(outside) and not len(twice):
            return passed(self, "each bar is one of the calendar's, once", misaligned=0, doubled=0)
        first = shown(ends[min([*outside[:1], *twice[:1]])])
        what = f"{len(outside)} bars that the calendar does not have, {len(twice)} doubled, the first at {first}"
        return failed(self, what, misaligned=len(outside), doubled=len(twice), first=first)


@dataclass(frozen=True)
class Finished:
    """No bar ends in the future: its close would be no close."""

    name: ClassVar[str] = "finished"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look at the ends of the bars."""
        early = np.flatnonzero(series.bars.end > series.timetable.now)
        if not len(early):
            return passed(self, "every bar is over", unfinished=0)
        first = shown(series.bars.end[early[0]])
        return failed(self, f"a bar is there before it has ended, at {first}", unfinished=len(early), first=first)


@dataclass(frozen=True)
class RepeatedSession:
    """No session is the one before told once more: every price and volume the same, hour by hour."""

    name: ClassVar[str] = "repeated_session"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Compare each session with the one before. Bars that did not move say nothing."""
        timetable = series.timetable
        where = np.full(len(timetable.ends) + 1, -1, dtype=np.intp)
        bars = np.flatnonzero(series.on_time)
        where[np.searchsorted(timetable.ends, series.bars.end[bars])] = bars
        earlier = where[:-1][timetable.day_before]
        both = np.flatnonzero((where[:-1] >= 0) & (earlier >= 0) & (timetable.day_before >= 0))
        now, then = where[both], earlier[both]
        same = series.bars.high[now] > series.bars.low[now]
        for column in series.bars.columns[2:]:
            same &= column[now] == column[then]
        told, equal = (
            np.bincount(each, minlength=1) for each in (timetable.sessions[both], timetable.sessions[both][same])
        )
        found = np.flatnonzero((equal > 0) & (equal == told[: len(equal)]))
        if not len(found):
            return passed(self, "no session is told twice", repeated=0)
        day = shown(timetable.starts[np.searchsorted(timetable.sessions, found[0])])
        return failed(self, f"the session of {day} is the one before once more", repeated=len(found), first=day)


def _lost_sessions(series: StoredSeries) -> int:
    """Count the sessions of which not one bar is there."""
    expected = np.unique(series.timetable.sessions[series.expected.start : series.expected.stop])
    return len(expected) - len(np.unique(series.timetable.sessions[series.places]))


def _told(series: StoredSeries, hole: Hole) -> str:
    first, last = _edges(series, hole)
    return f"{hole.bars} bars, {first} to {last}"


def _hole_numbers(series: StoredSeries, hole: Hole) -> dict[str, int | str]:
    first, last = _edges(series, hole)
    return {"longest_hole_bars": hole.bars, "longest_hole_from": first, "longest_hole_to": last}


def _edges(series: StoredSeries, hole: Hole) -> tuple[str, str]:
    return shown(series.timetable.starts[hole.first]), shown(series.timetable.ends[hole.first + hole.bars - 1])
