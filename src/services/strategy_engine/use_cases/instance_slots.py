"""One slot of every instance that is on: what each needs is read at once, and what each decided is stored at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from math import isnan
from typing import Any

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair
from src.services.strategy_engine.domain.given import trade_json, watched_json
from src.services.strategy_engine.domain.instances import (
    PAIRS,
    SYMBOLS,
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
    next_fault,
    thresholds_config,
)
from src.services.strategy_engine.domain.symbol_trades import (
    Asked,
    SymbolMarket,
    SymbolSignal,
    SymbolTrade,
    signals_of,
)
from src.services.strategy_engine.ports import InstanceRepository, Market, StrategyRunner
from src.services.strategy_engine.use_cases.slots import close_of_slot, with_blocks
from src.shared.domain.bars import BarSeries, CloseSeries
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import slot_key
from src.shared.domain.instances import FaultKind, InstanceMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.failpoints import failpoint
from src.shared.messages.signals import SignalRaised
from src.shared.ports.unit_of_work import UnitOfWork

MOST_DETAIL_LETTERS = 1_000
_MOST_BARS = 5_000


@dataclass(frozen=True)
class InstanceRun:
    """What came of a slot: who decided in which mode, who failed, and who rests after a fault. Ids in order."""

    slot: datetime
    decided: Mapping[str, InstanceMode]
    failed: tuple[Fault, ...]
    resting: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """The run in figures."""
        return {"decided": len(self.decided), "failed": len(self.failed), "resting": len(self.resting)}


@dataclass(frozen=True)
class AtWork:
    """An instance that decides in a slot: what it looks at, and what it is called with."""

    standing: Standing
    reach: Reach
    job: Job
    pairs: tuple[WatchedPair, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that it may read, sorted: its own and the legs of its pairs."""
        return tuple(sorted({*self.reach.symbols, *_legs(self.pairs)}))

    @property
    def bars(self) -> int:
        """How many bars it may read."""
        return max([self.reach.warmup_bars, *(pair.pair.z_window_bars for pair in self.pairs)])


@dataclass(frozen=True)
class Unfinished:
    """The trades of instances in one symbol, and the instances among theirs that are not called any more."""

    trades: tuple[SymbolTrade, ...]
    unmanaged: tuple[Asked, ...]


@dataclass(frozen=True)
class InstanceSlots:
    """Lets instances decide, once a slot, whoever asks first."""

    store: UnitOfWork[InstanceRepository]
    runner: StrategyRunner
    calendar: TradingCalendar
    thresholds: Thresholds
    back_off: BackOff
    wall_clock: Callable[[], datetime]

    def run_instances(
        self,
        slot: datetime,
        now: datetime,
        market_close: datetime,
        *,
        only_with_bars: bool = False,
        acting: bool | None = None,
    ) -> InstanceRun:
        """Let every instance that is on decide about `slot`; one that has done so, or rests, is left out.

        With `acting` only those decide whose decisions may lead to trades in this slot, or only all others when it is
        false: instances of type pairs, for whom `evaluate_slot` acts, and those that observe.

        `now` is the broker's time and `market_close` its next close. With `only_with_bars` an instance that lacks a
        bar of the slot is left for a later run; else it decides with what there is. A strategy that fails is stored
        as a fault, and its instance rests; the others are not touched by it. Of two runs at once one stores each
        instance's decision.

        Raises:
            InputInvalid: `slot` is not the end of a bar, or lies after `now`.
            Transient: PostgreSQL went away; nothing is stored, the slot can be run again.
        """
        time = SlotTime(slot, now, close_of_slot(self.calendar, slot, now, market_close))
        with self.store() as work:
            due, trades = work.repo.due(slot), work.repo.symbol_trades()
            owners = {each.instance_id for each in trades}
            ends = bool(owners) and acting is not False
            unmanaged = _switched_off(work.repo.standings(owners), trades) if ends else ()
        if acting is not None:
            due = [each for each in due if _acts(each, owners) is acting]
        began = self.wall_clock()
        resting = tuple(each.id for each in due if each.rests(began))
        awake = [each for each in due if not each.rests(began)]
        reaches = self.reaches(awake)
        failed = {name: found for name, found in reaches.items() if isinstance(found, Failed)}
        market, at_work = self.prepare(time, awake, reaches, trades)
        if only_with_bars:
            at_work = [each for each in at_work if _has_bars(market, each)]
        outcomes = self.runner.steps(market, [each.job for each in at_work])
        decided = []
        for each, outcome in zip(at_work, outcomes, strict=True):
            if isinstance(outcome, Failed):
                failed[each.standing.id] = outcome
            else:
                decided.append((each, _decision(market, each, outcome)))
        return self._store(market, awake, decided, failed, resting, Unfinished(tuple(trades), unmanaged))

    def reaches(self, standings: Sequence[Standing]) -> dict[str, Reach | Failed]:
        """Ask what each instance looks at, by its id."""
        jobs = [Job(each.id, each.instance.strategy, each.instance.config) for each in standings]
        found = self.runner.reaches(jobs)
        return {job.instance_id: _bounded(reach) for job, reach in zip(jobs, found, strict=True)}

    def prepare(
        self,
        time: SlotTime,
        standings: Sequence[Standing],
        reaches: Mapping[str, Reach | Failed],
        trades: Sequence[SymbolTrade] | None = None,
    ) -> tuple[Market, list[AtWork]]:
        """Read the market that the instances look at, in one go, and what each is called with.

        `trades` are those in one symbol, where they were read before.
        """
        able = [(each, reach) for each in standings if isinstance(reach := reaches[each.id], Reach)]
        pairs: Sequence[WatchedPair] = ()
        with self.store() as work:
            if any(reach.pairs for _, reach in able):
                watched = work.repo.watched_pairs(time.slot)
                pairs = with_blocks(watched, work.repo.data_blocks(_legs(watched)))
            at_work = [_at_work(each, reach, pairs, self._config(each)) for each, reach in able]
            bars = max((each.bars for each in at_work), default=0)
            ends = [end for _, end in self.calendar.last_spans(time.slot, bars)] if bars else []
            series, whole = _read(work.repo, at_work, ends)
            trades = work.repo.symbol_trades() if trades is None else trades
            equity = work.repo.equity(time.slot) if trades else None
        prices = series.last_closes() if trades else {}
        at_work = [_holding(each, trades, prices, equity) for each in at_work]
        return Market(time, series, tuple(pairs), whole=whole), at_work

    def record_faults(self, standings: Sequence[Standing], failed: Mapping[str, Failed]) -> None:
        """Store how calls failed, by the ids of their instances.

        Raises:
            Transient: PostgreSQL went away.
        """
        with self.store() as work:
            work.repo.add_faults(self._faults(standings, failed, self.wall_clock()))
            work.commit()

    def symbols(self) -> list[str]:
        """List the symbols of every instance that is on, sorted, but for the legs of pairs, which are watched anyway.

        An instance whose strategy fails is left out: it says so when it is to decide.
        """
        with self.store() as work:
            on = [each for each in work.repo.standings() if each.instance.mode is not InstanceMode.OFF]
        reaches = self.reaches([each for each in on if each.instance.strategy != PAIRS]).values()
        return sorted({symbol for reach in reaches if isinstance(reach, Reach) for symbol in reach.symbols})

    def draw(self, instance_id: str, now: datetime) -> tuple[Mapping[str, object], ...]:
        """Let an instance show how it stands after the last slot it decided in, else at the last one there was.

        Raises:
            InputInvalid: there is no such instance, or its strategy fails.
        """
        with self.store() as work:
            found = next((each for each in work.repo.standings() if each.id == instance_id), None)
        if found is None:
            raise InputInvalid(f"There is no instance {instance_id!r}: see `tradewinds instance list`.")
        slot = found.state.slot if found.state and found.state.slot else self.calendar.last_slot(now)
        reaches = self.reaches([found])
        market, at_work = self.prepare(SlotTime(slot, slot, slot), [found], reaches)
        (drawn,) = self.runner.drawings(market, [each.job for each in at_work]) or (reaches[instance_id],)
        if isinstance(drawn, Reach | Failed):
            said = drawn.detail if isinstance(drawn, Failed) else "it shows nothing"
            raise InputInvalid(f"{instance_id} can't be drawn: {said}")
        return drawn

    def _faults(self, standings: Sequence[Standing], failed: Mapping[str, Failed], now: datetime) -> list[Fault]:
        return [_fault_of(each, failed[each.id], now, self.back_off) for each in standings if each.id in failed]

    def _config(self, standing: Standing) -> Mapping[str, Any]:
        """Return the config to call an instance with: one of pairs goes by the settings where it says nothing."""
        asked = standing.instance
        return {**thresholds_config(self.thresholds), **asked.config} if asked.strategy == PAIRS else asked.config

    def _store(
        self,
        market: Market,
        awake: Sequence[Standing],
        made: Sequence[tuple[AtWork, InstanceDecision]],
        failed: Mapping[str, Failed],
        resting: tuple[str, ...],
        unfinished: Unfinished,
    ) -> InstanceRun:
        now, slot = self.wall_clock(), market.time.slot
        faults = self._faults(awake, failed, now)
        with self.store() as work:
            decided = work.repo.add_decisions([decision for _, decision in made], now)
            work.repo.add_faults(faults)
            acting = [*_acting(made, decided, unfinished.trades), *unfinished.unmanaged]
            self._signal(work.repo, market, acting, unfinished.trades)
            failpoint("strategy_engine.before_decisions")
            work.commit()
        failpoint("strategy_engine.decisions_stored")
        return InstanceRun(slot, dict(sorted(decided.items())), tuple(faults), resting)

    def _signal(
        self, repo: InstanceRepository, market: Market, asked: Sequence[Asked], trades: Sequence[SymbolTrade]
    ) -> None:
        """Store what the targets of instances come to, and what ends because nobody manages it any more."""
        if not asked:
            return
        slot = market.time.slot
        symbols = sorted({symbol for each in asked for symbol in each.targets})
        blocks = {block.symbol: block for block in reversed(repo.data_blocks(symbols))} if symbols else {}
        bars = {each.slot: self.calendar.bars_between_slots(each.slot, slot) for each in trades}
        known = SymbolMarket(slot, _closes(market), blocks, bars, repo.equity(slot))
        signals = [signal for each in asked for signal in signals_of(each, trades, known)]
        added = repo.add_symbol_signals(signals)
        repo.tell([_raised(signal) for signal in signals if signal.name in added])


def _acts(standing: Standing, owners: Collection[str]) -> bool:
    instance = standing.instance
    return standing.id in owners or (instance.mode is InstanceMode.ACTIVE and instance.strategy != PAIRS)


def _acting(
    made: Sequence[tuple[AtWork, InstanceDecision]],
    decided: Mapping[str, InstanceMode],
    trades: Sequence[SymbolTrade],
) -> list[Asked]:
    """List what was asked for by those whose decisions count, who trade symbols, and who can enter or leave."""
    owners = {each.instance_id for each in trades}
    return [
        Asked.of(decision, decided[name], each.reach.symbols)
        for each, decision in made
        if (name := each.standing.id) in decided
        and each.reach.trades == SYMBOLS
        and (decided[name] is InstanceMode.ACTIVE or name in owners)
    ]


def _switched_off(standings: Sequence[Standing], trades: Sequence[SymbolTrade]) -> tuple[Asked, ...]:
    """Name the instances that have a trade and are not called any more: nothing is asked for them."""
    on = {each.id: each.instance for each in standings if each.instance.mode is not InstanceMode.OFF}
    gone = sorted({each.instance_id for each in trades} - on.keys())
    versions = {each.id: each.instance.config_version for each in standings}
    return tuple(Asked(name, InstanceMode.OFF, {}, frozenset(), versions.get(name, 0)) for name in gone)


def _closes(market: Market) -> dict[str, float]:
    """Return the closes of the bars that end at the slot."""
    series = market.series
    if not series.ends or series.ends[-1] != market.time.slot:
        return {}
    last = {symbol: float(series.column(symbol)[-1]) for symbol in series.symbols}
    return {symbol: close for symbol, close in last.items() if not isnan(close)}


def _holding(
    each: AtWork, trades: Sequence[SymbolTrade], prices: Mapping[str, float], equity: Decimal | None
) -> AtWork:
    """Let an instance see what it really holds in symbols, whatever it would hold otherwise."""
    held = {
        trade.symbol: trade.fraction(prices.get(trade.symbol), equity)
        for trade in trades
        if trade.instance_id == each.standing.id and trade.shares
    }
    if not held:
        return each
    known = each.job.held
    return replace(each, job=replace(each.job, held={**known, "fractions": {**known["fractions"], **held}}))


def _raised(signal: SymbolSignal) -> SignalRaised:
    return SignalRaised.of(
        signal.id,
        1,
        signal.slot,
        slot_key(signal.slot),
        pair_id=signal.name,
        action=signal.action.value,
        reason=signal.reason.value,
        z=None,
    )


def _read(
    repo: InstanceRepository, at_work: Sequence[AtWork], ends: Sequence[datetime]
) -> tuple[CloseSeries, BarSeries | None]:
    """Read each symbol once: whole bars where somebody reads them, closes of the others."""
    symbols = {symbol for each in at_work for symbol in each.symbols}
    in_whole = {symbol for each in at_work if each.reach.whole_bars for symbol in each.symbols}
    series = repo.closes(sorted(symbols - in_whole), ends)
    if not in_whole:
        return series, None
    whole = repo.bars(sorted(in_whole), ends)
    return series.beside(whole.closes), whole


def _fault_of(standing: Standing, failed: Failed, now: datetime, back_off: BackOff) -> Fault:
    detail = " ".join(failed.detail.replace("\x00", " ").split())[:MOST_DETAIL_LETTERS]
    return next_fault(standing, failed.kind, detail.encode("utf-8", "replace").decode(), now, back_off)


def _bounded(reach: Reach | Failed) -> Reach | Failed:
    if isinstance(reach, Reach) and not 0 < reach.warmup_bars <= _MOST_BARS:
        return Failed(
            FaultKind.EXCEPTION,
            f"it needs {reach.warmup_bars} bars of history; between 1 and {_MOST_BARS} can be had",
        )
    return reach


def _at_work(standing: Standing, reach: Reach, pairs: Sequence[WatchedPair], config: Mapping[str, Any]) -> AtWork:
    own = tuple(each for each in pairs if reach.takes(each.pair.id)) if reach.pairs else ()
    known, asked = standing.remembered, standing.instance
    job = Job(asked.id, asked.strategy, config, known.state if known else None, _held(standing, own))
    return AtWork(standing, reach, job, own)


def _held(standing: Standing, pairs: Sequence[WatchedPair]) -> Mapping[str, Any]:
    """What the account has, for an instance that acts; else what it would hold."""
    if standing.instance.mode is InstanceMode.ACTIVE:
        return {"fractions": {}, "trades": {each.pair.id: trade_json(each.trade) for each in pairs if each.trade}}
    return standing.state.held if standing.state else {"fractions": {}, "trades": {}}


def _has_bars(market: Market, each: AtWork) -> bool:
    series = market.series
    is_there = bool(series.ends) and series.ends[-1] == market.time.slot
    return is_there and not any(isnan(series.column(symbol)[-1]) for symbol in each.symbols)


def _legs(pairs: Sequence[WatchedPair]) -> list[str]:
    return sorted({leg for each in pairs for leg in (each.pair.symbol_1, each.pair.symbol_2)})


def _decision(market: Market, each: AtWork, stepped: Stepped) -> InstanceDecision:
    time, known = market.time, each.standing.remembered
    given = {
        "config": each.job.config,
        "now": time.now.isoformat(),
        "market_close": time.close.isoformat(),
        "held": each.job.held,
        "pairs": [watched_json(pair) for pair in each.pairs],
        "bars": each.bars,
        "whole_bars": each.reach.whole_bars,
    }
    before = known.state if known else None
    return InstanceDecision(
        instance_id=each.standing.id,
        slot=time.slot,
        config_version=each.standing.instance.config_version,
        strategy_digest=each.reach.digest,
        state_before=before,
        state_after=stepped.state,
        state_digest=digest_of(before),
        bars_digest=bars_digest(
            market.series, each.symbols, each.bars, market.whole if each.reach.whole_bars else None
        ),
        given=given,
        held_after=stepped.held_after,
        wishes=stepped.wishes,
        numbers=stepped.numbers,
        log=stepped.log,
    )
