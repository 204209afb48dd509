"""Take the stored decisions of instances again, with the state, the config and the bars that each had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from src.services.strategy_engine.domain.bar_versions import BarChange, bars_at, change_times, changes_since
from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair, symbols_of
from src.services.strategy_engine.domain.given import watched_from
from src.services.strategy_engine.domain.instances import Failed, Job, Reach, Stepped, bars_digest
from src.services.strategy_engine.domain.replay import (
    IN_FLIGHT,
    Cause,
    Difference,
    PastInstanceDecision,
    ReplayedDecision,
    cause_of,
    instance_differences,
    restoring,
)
from src.services.strategy_engine.ports import Market, ReplayStore, StrategyRunner
from src.shared.domain.bars import BarSeries
from src.shared.domain.instances import FaultKind
from src.shared.domain.sessions import TradingCalendar

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class _Seen:
    """What an instance looked at: symbols, pairs, so many bars, whole or not; and the code that it is today."""

    symbols: tuple[str, ...]
    pairs: tuple[WatchedPair, ...]
    ends: tuple[datetime, ...]
    digest: str
    whole_bars: bool

    def digest_of(self, bars: BarSeries) -> str:
        """Name what it would have seen of these bars: all of them, or their closes."""
        return bars_digest(bars.closes, self.symbols, len(self.ends), bars if self.whole_bars else None)


@dataclass(frozen=True)
class InstanceReplay:
    """Calls strategies as their instances were called, and compares."""

    repo: ReplayStore
    runner: StrategyRunner
    calendar: TradingCalendar

    def replayed(self, stored: Sequence[PastInstanceDecision]) -> Iterator[ReplayedDecision]:
        """Take each decision again."""
        jobs = [_job(each) for each in stored]
        for each, job, reach in zip(stored, jobs, self.runner.reaches(jobs), strict=True):
            if isinstance(reach, Failed):
                # It could be called then: a file that is gone or broken now is another one.
                cause = Cause.RULES if reach.kind is FaultKind.BROKEN else Cause.UNEXPLAINED
                yield _told(each, cause, notes=[f"its strategy can't be called: {reach.detail}"])
            else:
                yield self._one(each, job, reach)

    def _one(self, stored: PastInstanceDecision, job: Job, reach: Reach) -> ReplayedDecision:
        try:
            seen, time, ticks = self._seen(stored, reach), _time(stored), dict(stored.given.get("ticks", {}))
        except (KeyError, TypeError, ValueError) as error:
            return _told(stored, Cause.UNEXPLAINED, notes=[f"what it was given can't be read: {error!r}"])
        bars, changes = self._bars(stored, seen)
        digest = seen.digest_of(bars)
        if digest != stored.bars_digest and (months := self._archived(seen)):
            return _told(stored, Cause.ARCHIVED, notes=restoring(months))
        (again,) = self.runner.steps(Market(time, bars.closes, seen.pairs, ticks, bars), [job])
        # Between two slots ticks may have changed what it remembers.
        return _judged(replace(stored, left=None) if reach.has_ticks else stored, seen, again, changes, digest)

    def _seen(self, stored: PastInstanceDecision, reach: Reach) -> _Seen:
        pairs = tuple(watched_from(each) for each in stored.given["pairs"])
        symbols = tuple(sorted({*reach.symbols, *symbols_of(pairs)}))
        ends = tuple(end for _, end in self.calendar.last_spans(stored.slot, int(stored.given["bars"])))
        # Decisions of before there were whole bars do not say.
        return _Seen(symbols, pairs, ends, reach.digest, stored.given.get("whole_bars", False))

    def _bars(self, stored: PastInstanceDecision, seen: _Seen) -> tuple[BarSeries, list[BarChange]]:
        """Read the bars; where they are not those that it saw, try those of then, and say what changed since."""
        now = self.repo.bars(seen.symbols, seen.ends)
        if not seen.ends or seen.digest_of(now) == stored.bars_digest:
            return now, []
        versions = self.repo.bar_versions(seen.symbols, seen.ends[0], seen.ends[-1])
        meanwhile = change_times(versions, stored.recorded_at - IN_FLIGHT, stored.recorded_at)
        for at in (stored.recorded_at, *(each - _MOMENT for each in meanwhile)):
            then = bars_at(now, versions, seen.symbols, at)
            if seen.digest_of(then) == stored.bars_digest:
                return then, changes_since(versions, seen.symbols, seen.ends, at, whole=seen.whole_bars)
        return now, []

    def _archived(self, seen: _Seen) -> list[date]:
        if not seen.ends or not seen.symbols:
            return []
        return sorted({month for _, month in self.repo.archived_months(seen.symbols, seen.ends[0], seen.ends[-1])})


def _job(stored: PastInstanceDecision) -> Job:
    held: Mapping[str, Any] = stored.given.get("held", {})
    return Job(stored.instance_id, stored.strategy, stored.config, stored.state_before, held)


def _time(stored: PastInstanceDecision) -> SlotTime:
    now, close = (datetime.fromisoformat(stored.given[name]) for name in ("now", "market_close"))
    return SlotTime(stored.slot, now, close)


def _judged(
    stored: PastInstanceDecision,
    seen: _Seen,
    again: Stepped | Failed,
    changes: Sequence[BarChange],
    digest: str,
) -> ReplayedDecision:
    notes = [] if digest == stored.bars_digest else ["the bars that it saw can't be rebuilt from what is on record"]
    left: tuple[Difference, ...] = ()
    if isinstance(again, Failed):
        notes.append(f"it fails now: {again.detail}")
    else:
        left = instance_differences(stored, again)
    if not notes and all(each.is_rounding for each in left):
        return _told(stored, cause_of(changes) or (Cause.ROUNDING if left else Cause.SAME), left, changes)
    if seen.digest != stored.strategy_digest:
        notes.append(f"its file was {stored.strategy_digest} then and is {seen.digest} now")
        return _told(stored, Cause.RULES, left, changes, notes)
    return _told(stored, Cause.UNEXPLAINED, left, changes, notes)


def _told(
    stored: PastInstanceDecision,
    cause: Cause,
    left: Sequence[Difference] = (),
    changes: Sequence[BarChange] = (),
    notes: Sequence[str] = (),
) -> ReplayedDecision:
    asked = ", ".join(f"{wish['kind']} {wish.get('symbol') or wish.get('pair_id')}" for wish in stored.wishes)
    return ReplayedDecision(
        stored.instance_id,
        stored.slot,
        asked or "asks for nothing",
        "",
        cause,
        tuple(left),
        tuple(changes),
        tuple(notes),
    )
