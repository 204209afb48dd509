"""The instances that run in an engine: they follow the rows, decide by slot and look at ticks in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from loguru import logger

from src.services.strategy_engine.domain.evaluation import SlotTime
from src.services.strategy_engine.domain.instances import (
    Changes,
    Failed,
    Instance,
    Job,
    Json,
    LateState,
    Reach,
    Standing,
    reconcile,
)
from src.services.strategy_engine.ports import Market
from src.services.strategy_engine.use_cases.instance_slots import InstanceRun, InstanceSlots
from src.shared.domain.ticks import Tick
from src.shared.failpoints import failpoint


@dataclass
class Resident:
    """An instance that runs: how it stands, what it looks at, and what it remembers since the last tick."""

    standing: Standing
    reach: Reach
    state: Json | None
    is_changed: bool = False

    @property
    def slot(self) -> datetime | None:
        """The slot that its state grew from."""
        known = self.standing.remembered
        return known.slot if known else None

    @property
    def hears(self) -> bool:
        """Say whether ticks are for it: it looks at them, and has begun with a bar."""
        return self.reach.has_ticks and self.state is not None


@dataclass
class InstanceEngine:
    """Runs what the rows ask for. One thread at a time calls it."""

    slots: InstanceSlots
    _residents: dict[str, Resident] = field(default_factory=dict)
    _hearers: dict[str, list[str]] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _market: Market | None = None
    _rests: dict[str, datetime] = field(default_factory=dict)
    _pulse: tuple[object, ...] = ()

    @property
    def heard(self) -> frozenset[str]:
        """The symbols whose ticks somebody looks at."""
        return frozenset(self._hearers)

    @property
    def running(self) -> dict[str, Instance]:
        """What runs, by id."""
        return {name: each.standing.instance for name, each in self._residents.items()}

    def look(self) -> Changes:
        """Reconcile if anything has changed since the last look, or somebody has rested.

        Raises:
            Transient: PostgreSQL went away; what runs goes on as it was.
        """
        with self.slots.store() as work:
            pulse = work.repo.pulse()
        if pulse == self._pulse and not any(end <= self.slots.wall_clock() for end in self._rests.values()):
            return Changes()
        changes = self.reconcile()
        self._pulse = pulse
        return changes

    def reconcile(self, only: Collection[str] | None = None) -> Changes:
        """Read the rows, all or those of some, and run what they ask for; what rests after a fault does not run.

        Raises:
            Transient: PostgreSQL went away; what runs goes on as it was.
        """
        now = self.slots.wall_clock()
        with self.slots.store() as work:
            standings = {each.id: each for each in work.repo.standings(only)}
        able = [each for each in standings.values() if not each.rests(now)]
        meant = {name: each for name, each in self.running.items() if only is None or name in only}
        changes = reconcile(meant, [each.instance for each in able])
        self._note_rests(only, standings, now)
        for name in (*changes.stop, *changes.renew):
            del self._residents[name]
        is_newer = self._refresh(standings)
        self._start([standings[name] for name in (*changes.start, *changes.renew)])
        if not changes.is_empty:
            logger.info("Instances run: {}", _said(changes, len(self._residents)))
        if is_newer or not changes.is_empty:
            self._prepare_for_ticks()
        return changes

    def run_slot(self, slot: datetime, now: datetime, market_close: datetime) -> InstanceRun:
        """Let the instances decide whose bars of the slot are all there; see `InstanceSlots.run_instances`."""
        self.flush()
        run = self.slots.run_instances(slot, now, market_close, only_with_bars=True)
        if run.decided or run.failed:
            # States are others now, and so may be the files of strategies.
            self._residents.clear()
            self.reconcile()
        return run

    def take(self, ticks: Mapping[str, Tick]) -> int:
        """Let instances look at the newest tick of each symbol, and say how many calls there were.

        Nothing that is asked for on a tick is acted on: trades are decided by slot.
        """
        calls = 0
        for symbol, tick in sorted(ticks.items()):
            names = [name for name in self._hearers.get(symbol, ()) if name in self._residents]
            if names and self._market is not None:
                self._call(names, self._market, tick)
                calls += len(names)
        return calls

    def flush(self) -> None:
        """Store the states that ticks have changed.

        Raises:
            Transient: PostgreSQL went away; they are stored the next time.
        """
        changed = [each for each in self._residents.values() if each.is_changed and each.state is not None]
        if not changed:
            return
        with self.slots.store() as work:
            work.repo.keep_states([_late(each) for each in changed], self.slots.wall_clock())
            failpoint("strategy_engine.before_states")
            work.commit()
        failpoint("strategy_engine.states_kept")
        for each in changed:
            each.is_changed = False

    def _note_rests(self, only: Collection[str] | None, standings: Mapping[str, Standing], now: datetime) -> None:
        kept = {} if only is None else {name: end for name, end in self._rests.items() if name not in only}
        resting = {name: each.open_fault for name, each in standings.items() if each.rests(now)}
        self._rests = kept | {name: fault.back_off_until for name, fault in resting.items() if fault}

    def _refresh(self, standings: Mapping[str, Standing]) -> bool:
        """Take over what others have stored, another mode or the state of a slot that was decided elsewhere.

        Return whether there is such a state.
        """
        is_newer = False
        for name, after in standings.items():
            resident, known = self._residents.get(name), after.remembered
            if resident is None:
                continue
            if known is not None and known.slot != resident.slot:
                resident.state, resident.is_changed, is_newer = known.state, False, True
            resident.standing = after
        return is_newer

    def _start(self, standings: Sequence[Standing]) -> None:
        reaches = self.slots.reaches(standings)
        self._fail({name: found for name, found in reaches.items() if isinstance(found, Failed)}, standings)
        for each in standings:
            if isinstance(reach := reaches[each.id], Reach):
                known = each.remembered
                self._residents[each.id] = Resident(each, reach, known.state if known else None)

    def _prepare_for_ticks(self) -> None:
        """Read once what instances are given with each tick, as of the last slot that any of them decided in."""
        hearers = [each for each in self._residents.values() if each.hears]
        slot = max((each.slot for each in hearers if each.slot), default=None)
        hearing: dict[str, list[str]] = {}
        self._jobs, self._market = {}, None
        if slot is None:
            self._hearers = hearing
            return
        reaches = {each.standing.id: each.reach for each in hearers}
        time = SlotTime(slot, slot, slot)
        self._market, at_work = self.slots.prepare(time, [each.standing for each in hearers], reaches)
        for each in at_work:
            self._jobs[each.standing.id] = each.job
            for symbol in each.symbols:
                hearing.setdefault(symbol, []).append(each.standing.id)
        # At once: another thread reads which symbols are heard.
        self._hearers = hearing

    def _call(self, names: Sequence[str], market: Market, tick: Tick) -> None:
        jobs = [replace(self._jobs[name], state=self._residents[name].state) for name in names]
        failed = {}
        for name, outcome in zip(names, self.slots.runner.ticks(market, tick, jobs), strict=True):
            resident = self._residents[name]
            if isinstance(outcome, Failed):
                failed[name] = outcome
            elif outcome.state != resident.state:
                resident.state, resident.is_changed = outcome.state, True
        self._fail(failed, [self._residents[name].standing for name in names])

    def _fail(self, failed: Mapping[str, Failed], standings: Sequence[Standing]) -> None:
        """Store faults; who failed does not run until it has rested."""
        if failed:
            self.slots.record_faults(standings, failed)
            for name in failed:
                self._residents.pop(name, None)


def _late(resident: Resident) -> LateState:
    return LateState(
        resident.standing.id,
        resident.state or {},
        resident.reach.digest,
        resident.standing.instance.config_version,
        resident.slot,
    )


def _said(changes: Changes, running: int) -> str:
    parts = {
        "started": changes.start,
        "begun anew": changes.renew,
        "switched": changes.change_mode,
        "stopped": changes.stop,
    }
    told = [f"{len(names)} {what}" for what, names in parts.items() if names]
    return f"{running} ({', '.join(told)})"
