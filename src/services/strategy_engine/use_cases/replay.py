"""Take the stored decisions of a past day again, from what is stored, and explain where one comes out otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property

from src.services.strategy_engine.domain.bar_versions import BarChange, change_times, changes_since, closes_at
from src.services.strategy_engine.domain.decision import RULES
from src.services.strategy_engine.domain.evaluation import (
    SlotTime,
    WatchedPair,
    evaluate_pairs,
    symbols_of,
)
from src.services.strategy_engine.domain.replay import (
    IN_FLIGHT,
    Cause,
    Difference,
    PairDecision,
    ReplayedDecision,
    StoredInputs,
    cause_of,
    differences,
    of_state,
    read_inputs,
    restoring,
)
from src.services.strategy_engine.domain.trade_history import TradeHistory, step_times, unfinished_at
from src.services.strategy_engine.ports import ReplayStore, StrategyRunner
from src.services.strategy_engine.use_cases.replay_instances import InstanceReplay
from src.services.strategy_engine.use_cases.slots import with_blocks
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id, slot_key
from src.shared.domain.pairs import Pair
from src.shared.domain.sessions import Session, TradingCalendar
from src.shared.ports.unit_of_work import UnitOfWork

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class ReplayedDay:
    """The decisions of a day, taken again, by slot and pair; `undecided` are the day's slots that have none."""

    day: date
    decisions: tuple[ReplayedDecision, ...]
    undecided: tuple[datetime, ...]

    @property
    def counts(self) -> dict[Cause, int]:
        """Count the decisions by cause."""
        counted = Counter(each.cause for each in self.decisions)
        return {cause: counted[cause] for cause in Cause if counted[cause]}

    @property
    def different(self) -> tuple[ReplayedDecision, ...]:
        """The decisions that did not simply come out the same."""
        return tuple(each for each in self.decisions if each.cause not in (Cause.SAME, Cause.ROUNDING))

    @property
    def unexplained(self) -> int:
        """How many differ and nothing says why."""
        return self.counts.get(Cause.UNEXPLAINED, 0)


@dataclass(frozen=True)
class Replay:
    """Reads, decides anew by the same rules, and compares. It writes nothing."""

    store: UnitOfWork[ReplayStore]
    calendar: TradingCalendar
    runner: StrategyRunner

    def day(self, day: date, today: date, pair: str | None = None) -> ReplayedDay:
        """Take the decisions of a session again: those of one pair, or of all pairs and of every instance.

        Raises:
            InputInvalid: `day` is no session, or after `today` and nothing was decided in it, or `pair` is no pair.
        """
        if pair is not None:
            parse_pair_id(pair)
        session = self._session(day)
        slots = [end for _, end in session.bar_spans()]
        with self.store() as work:
            stored = work.repo.decisions(session.open, session.close)
            found = [each for batch in _batches(work.repo, stored, self.calendar) for each in batch.replayed()]
            found += [_unreadable(each, said) for each in stored if isinstance(said := read_inputs(each), str)]
            found += [_vanished(*told) for told in work.repo.told_without_row(session.open, session.close)]
            if pair is None:
                instances = work.repo.instance_decisions(session.open, session.close)
                found += InstanceReplay(work.repo, self.runner, self.calendar).replayed(instances)
        # A twin's market can be ahead of the host.
        if day > today and not found:
            raise InputInvalid(f"{day} is not over: there is nothing to replay before its slots are decided.")
        chosen = sorted((each for each in found if pair in (None, each.about)), key=lambda e: (e.slot, e.about))
        decided = {each.slot for each in chosen}
        return ReplayedDay(day, tuple(chosen), tuple(slot for slot in slots if slot not in decided))

    def close(self) -> None:
        """End the processes that strategies were called in."""
        self.runner.close()

    def _session(self, day: date) -> Session:
        sessions = self.calendar.sessions(day, day)
        if not sessions:
            raise InputInvalid(f"{day} has no session, it is a weekend, a holiday or outside of the calendar.")
        return sessions[0]


def _batches(repo: ReplayStore, stored: Sequence[PairDecision], calendar: TradingCalendar) -> Iterator[_Batch]:
    """Group what was decided side by side, so that arrays have the shape that they had."""
    groups: dict[tuple[SlotTime, datetime], list[tuple[PairDecision, StoredInputs]]] = {}
    for each in stored:
        inputs = read_inputs(each)
        if isinstance(inputs, StoredInputs):
            groups.setdefault((inputs.time(each.slot), inputs.first_bar_end), []).append((each, inputs))
    histories = repo.trade_histories(sorted({each.pair_id for each in stored}))
    for (time, first), members in groups.items():
        ends = calendar.slots_between(first, time.slot)
        yield _Batch(repo, calendar, members, time, ends, histories)


@dataclass(frozen=True)
class _Taken:
    """One decision of a batch taken again: what differs, which bars had to be put back, and what moved meanwhile."""

    differences: tuple[Difference, ...]
    changes: tuple[BarChange, ...] = ()
    moved: str = ""

    @property
    def is_alike(self) -> bool:
        """Say whether it came out the same, rounding apart."""
        return all(each.is_rounding for each in self.differences)


@dataclass
class _Batch:
    """Decisions of one slot with the same time and grid; what is known of each has its place."""

    repo: ReplayStore
    calendar: TradingCalendar
    members: Sequence[tuple[PairDecision, StoredInputs]]
    time: SlotTime
    ends: Sequence[datetime]
    histories: Mapping[str, Sequence[TradeHistory]]

    def replayed(self) -> list[ReplayedDecision]:
        """Take every decision of the batch again."""
        watched, moved = self._watched_then()
        taken = [_Taken(left, moved=moved.get(i, "")) for i, left in enumerate(self._differences(watched, self._now))]
        away = self._archived(watched)
        self._try_earlier_bars(watched, taken, {i for i, each in enumerate(taken) if not each.is_alike} - set(away))
        return [
            _archived(stored, away[i]) if i in away else _judged(stored, inputs, taken[i])
            for i, (stored, inputs) in enumerate(self.members)
        ]

    def _try_earlier_bars(self, watched: Sequence[WatchedPair], taken: list[_Taken], unlike: set[int]) -> None:
        """Take `unlike` with the bars as they were when the batch was decided, or just before what came meanwhile."""
        if not unlike or not self.ends:
            return
        symbols = symbols_of([watched[i] for i in unlike])
        versions = self.repo.bar_versions(symbols, self.ends[0], self.ends[-1])
        meanwhile = [at - _MOMENT for at in change_times(versions, self._read_at - IN_FLIGHT, self._read_at)]
        for at in (self._read_at, *meanwhile):
            found = self._differences(watched, closes_at(self._now, versions, symbols, at))
            for i in sorted(unlike):
                # What can't be explained is told with the bars that leave the least to explain.
                if len(found[i]) < len(taken[i].differences):
                    pair = watched[i].pair
                    legs, window = (pair.symbol_1, pair.symbol_2), self._window_of(pair)
                    changes = tuple(changes_since(versions, legs, window, at))
                    taken[i] = replace(taken[i], differences=found[i], changes=changes)
            unlike -= {i for i in unlike if taken[i].is_alike}

    def _watched_then(self) -> tuple[list[WatchedPair], dict[int, str]]:
        """Rebuild trade, last stop, freeze and block of each pair, and say what had changed just before.

        Where the state as it was written down by then is not the stored one, but that of the moment before a change
        is, the decision had read it before the change was committed.
        """
        then = self._watched(self._read_at)
        watched, moved, unlike = list(then), dict[int, str](), self._unlike_in_state(then)
        for at in self._moments_before_steps(unlike):
            before = self._watched(at)
            for i in unlike - self._unlike_in_state(before):
                watched[i], moved[i] = before[i], _moved(before[i], then[i])
            unlike -= set(moved)
        return watched, moved

    def _moments_before_steps(self, places: set[int]) -> list[datetime]:
        if not places:
            return []
        own = [history for i in places for history in self.histories.get(self.members[i][0].pair_id, ())]
        steps = step_times(own, self._read_at - IN_FLIGHT, self._read_at)
        return [*(at - _MOMENT for at in steps), self._read_at - IN_FLIGHT]

    def _unlike_in_state(self, watched: Sequence[WatchedPair]) -> set[int]:
        found = self._differences(watched, self._now)
        return {i for i, each in enumerate(found) if of_state(each)}

    def _watched(self, at: datetime) -> list[WatchedPair]:
        pasts = self.repo.pasts(self.time.slot, at, {each.pair_id: inputs.fitted_to for each, inputs in self.members})
        watched = [
            WatchedPair(
                inputs.pair(each.pair_id),
                unfinished_at(self.histories.get(each.pair_id, ()), at),
                pasts[each.pair_id].last_stop,
                pasts[each.pair_id].freeze,
                rules=inputs.under,
                fitted_to=inputs.fitted_to,
            )
            for each, inputs in self.members
        ]
        return with_blocks(watched, self.repo.data_blocks(symbols_of(watched), at))

    def _differences(self, watched: Sequence[WatchedPair], series: CloseSeries) -> list[tuple[Difference, ...]]:
        again = evaluate_pairs(watched, series, self.time, self.members[0][1].under.thresholds, self.calendar)
        return [differences(stored, each) for (stored, _), each in zip(self.members, again, strict=True)]

    def _archived(self, watched: Sequence[WatchedPair]) -> dict[int, list[date]]:
        """Name the archived months of those pairs whose bars are not all in the table."""
        if not self.ends:
            return {}
        away = self.repo.archived_months(symbols_of(watched), self.ends[0], self.ends[-1])
        found = {
            i: sorted(
                month for symbol, month in away
                if symbol in (each.pair.symbol_1, each.pair.symbol_2) and month in self._months_of(each.pair)
            )
            for i, each in enumerate(watched)
        }  # fmt: skip
        return {i: months for i, months in found.items() if months}

    def _months_of(self, pair: Pair) -> set[date]:
        return {end.date().replace(day=1) for end in self._window_of(pair)}

    def _window_of(self, pair: Pair) -> Sequence[datetime]:
        return self.ends[-pair.z_window_bars :]

    @cached_property
    def _now(self) -> CloseSeries:
        symbols = {symbol for stored, _ in self.members for symbol in parse_pair_id(stored.pair_id)}
        return self.repo.closes(sorted(symbols), self.ends)

    @cached_property
    def _read_at(self) -> datetime:
        # All that a batch was taken from was read before its first row was written.
        return min(stored.recorded_at for stored, _ in self.members)


def _judged(stored: PairDecision, inputs: StoredInputs, taken: _Taken) -> ReplayedDecision:
    notes = [taken.moved] if taken.moved else []
    if taken.is_alike:
        alike = Cause.ROUNDING if taken.differences else Cause.SAME
        cause = cause_of(taken.changes) or (Cause.MOVED if taken.moved else alike)
    elif inputs.rules is not None and inputs.rules != RULES:
        cause = Cause.RULES
        notes.append(f"decided by rules {inputs.rules}, those of today are rules {RULES}")
    else:
        cause = Cause.UNEXPLAINED
    return _told(stored, cause, taken.differences, taken.changes, notes)


def _archived(stored: PairDecision, months: Sequence[date]) -> ReplayedDecision:
    return _told(stored, Cause.ARCHIVED, notes=restoring(months))


def _unreadable(stored: PairDecision, why: str) -> ReplayedDecision:
    return _told(stored, Cause.UNEXPLAINED, notes=[why])


def _vanished(slot: datetime, pair: str, action: str) -> ReplayedDecision:
    why = f"its event says {action}, and its row is gone"
    return ReplayedDecision(pair, slot, action, "", Cause.UNEXPLAINED, notes=(why,))


def _told(
    stored: PairDecision,
    cause: Cause,
    left: Sequence[Difference] = (),
    changes: Sequence[BarChange] = (),
    notes: Sequence[str] = (),
) -> ReplayedDecision:
    return ReplayedDecision(
        stored.pair_id, stored.slot, stored.action, stored.reason, cause, tuple(left), tuple(changes), tuple(notes)
    )


def _moved(before: WatchedPair, after: WatchedPair) -> str:
    """Say what of a pair's state changed while it was decided on."""
    facts = [
        ("trade", before.trade and before.trade.state.value, after.trade and after.trade.state.value),
        ("last stop", before.last_stop and slot_key(before.last_stop), after.last_stop and slot_key(after.last_stop)),
        ("freeze", before.freeze.value, after.freeze.value),
        ("block", before.block and before.block.rule, after.block and after.block.rule),
    ]
    said = [f"{name}: {old or 'none'} → {new or 'none'}" for name, old, new in facts if old != new]
    return f"while the slot was decided, {', '.join(said)}"
