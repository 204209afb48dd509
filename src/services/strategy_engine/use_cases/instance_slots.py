"""One slot of every instance that is on: what each needs is read at once, and what each decided is stored at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair
from src.services.strategy_engine.domain.instances import (
    BackOff,
    Failed,
    Fault,
    InstanceDecision,
    Job,
    Reach,
    Standing,
    Stepped,
    bars_digest,
    digest_of,
    given_of,
    held_by,
    next_fault,
)
from src.services.strategy_engine.ports import InstanceRepository, Market, StrategyRunner
from src.services.strategy_engine.use_cases.slots import blocked_pairs, close_of_slot, under_instances
from src.shared.domain.instances import InstanceMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.ports.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class InstanceRun:
    """What came of a slot: who decided in which mode, who failed, and who rests after a fault. Ids in order."""

    slot: datetime
    decided: dict[str, InstanceMode]
    failed: tuple[Fault, ...]
    resting: tuple[str, ...]
    already_done: bool

    @property
    def counts(self) -> dict[str, int]:
        """The run in figures."""
        return {"decided": len(self.decided), "failed": len(self.failed), "resting": len(self.resting)}


@dataclass(frozen=True)
class InstanceSlots:
    """Lets instances decide, once a slot, whoever asks first."""

    store: UnitOfWork[InstanceRepository]
    runner: StrategyRunner
    calendar: TradingCalendar
    thresholds: Thresholds
    back_off: BackOff
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run_instances(self, slot: datetime, now: datetime, market_close: datetime) -> InstanceRun:
        """Let every instance that is on decide about `slot`; one that has done so, or rests, is left out.

        `now` is the broker's time and `market_close` its next close. A strategy that fails is stored as a fault, and
        its instance rests; the others are not touched by it. Of two runs at once one stores each instance's decision.

        Raises:
            InputInvalid: `slot` is not the end of a bar, or lies after `now`.
            Transient: PostgreSQL went away; nothing is stored, the slot can be run again.
        """
        time = SlotTime(slot, now, close_of_slot(self.calendar, slot, now, market_close))
        with self.store() as work:
            due = work.repo.due(slot)
        at_work = [each for each in due if not each.rests(self.clock())]
        resting = tuple(each.id for each in due if each.rests(self.clock()))
        if not at_work:
            return InstanceRun(slot, {}, (), resting, already_done=not due)
        reaches = dict(zip((each.id for each in at_work), self.runner.reaches(_jobs(at_work)), strict=True))
        able = [(each, reach) for each in at_work if isinstance(reach := reaches[each.id], Reach)]
        market = self.market(time, [reach for _, reach in able])
        jobs = _jobs([each for each, _ in able], market.pairs, dict(able_reaches(able)))
        outcomes = dict(zip((job.instance_id for job in jobs), self.runner.steps(market, jobs), strict=True))
        return self._store(slot, at_work, market, jobs, {**reaches, **outcomes}, resting)
