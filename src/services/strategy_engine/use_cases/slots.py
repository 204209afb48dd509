"""The verbs of the strategy engine: evaluate a slot, register a pair, say which symbols to watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from src.services.strategy_engine.domain.decision import DataBlock, Thresholds
from src.services.strategy_engine.domain.evaluation import Evaluation, SlotTime, WatchedPair, evaluate_pairs
from src.services.strategy_engine.domain.fit import FitBounds, PairFit, fit_pair, judge_fit, refuse_no_pair
from src.services.strategy_engine.domain.instances import Instance, covers_of, limited_by, rules_of
from src.services.strategy_engine.domain.reasons import FitReason
from src.services.strategy_engine.ports import RegisteredPair, StrategyRepository
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import pair_id, parse_pair_id, slot_key
from src.shared.domain.pairs import Pair, PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import Signal
from src.shared.failpoints import failpoint
from src.shared.messages.signals import PairModeChanged, SignalRaised
from src.shared.ports.unit_of_work import UnitOfWork

# Share of the asked-for bars that must be there for both legs: a halted hour here and there does no harm to a fit.
LEAST_COVERAGE = 0.95


_ENDS_A_SYMBOL = (CorporateActionKind.SYMBOL_CHANGE, CorporateActionKind.CASH_MERGER, CorporateActionKind.REMOVAL)


@dataclass(frozen=True)
class SlotEvaluation:
    """The signals of a slot as they are stored, by pair id; `already_done` when an earlier run had stored them."""

    slot: datetime
    signals: tuple[Signal, ...]
    already_done: bool

    @property
    def entries(self) -> tuple[Signal, ...]:
        """The signals that would open a trade, those of observed pairs included."""
        return tuple(signal for signal in self.signals if signal.action.is_entry)

    @property
    def exits(self) -> tuple[Signal, ...]:
        """The signals that close a trade."""
        return tuple(signal for signal in self.signals if signal.action.is_exit)


@dataclass(frozen=True)
class Registration:
    """A pair as it was registered, its fit, and why it may not be traded (then its mode is observe at most)."""

    pair: Pair
    fit: PairFit
    reasons: tuple[FitReason, ...]
    version: int


@dataclass(frozen=True)
class StrategyEngine:
    """Decides about pairs. It is the only writer of the pair registry, spreads and signals."""

    store: UnitOfWork[StrategyRepository]
    calendar: TradingCalendar
    thresholds: Thresholds
    bounds: FitBounds
    history_bars: int

    def evaluate_slot(self, slot: datetime, now: datetime, market_close: datetime) -> SlotEvaluation:
        """Decide about every watched pair at `slot` and store it, once.

        A slot that has signals is not decided again: the stored ones are returned. `now` is the broker's time and
        `market_close` its next close. Two runs at once store one set of signals, and both return it.

        Raises:
            InputInvalid: `slot` is not the end of a bar, or lies after `now`.
        """
        time = SlotTime(slot, now, close_of_slot(self.calendar, slot, now, market_close))
        with self.store() as work:
            if stored := work.repo.stored_signals(slot):
                return SlotEvaluation(slot, stored, already_done=True)
            evaluations = self._evaluate(work.repo, time)
            added = work.repo.add_evaluations(evaluations)
            work.repo.tell([_raised(each) for each in evaluations if each.pair.id in added])
            signals = work.repo.stored_signals(slot)
            failpoint("strategy_engine.before_signals")
            work.commit()
        failpoint("strategy_engine.signals_stored")
        return SlotEvaluation(slot, signals, already_done=bool(signals) and not added)

    def symbols_to_watch(self) -> list[str]:
        """List the symbols of every watched pair, sorted: what must be loaded before a slot is evaluated."""
        with self.store() as work:
            return work.repo.watched_symbols()

    def register_pair(
        self, symbol_1: str, symbol_2: str, *, until: datetime, bars: int, mode: PairMode, who: str, why: str
    ) -> Registration:
        """Fit a pair on its last `bars` stored closes up to `until` and write it into the registry.

        A pair that is there gets the new fit. A fit that may not be traded is registered as observe, whatever `mode`
        asks for. Registering the same again changes nothing. A fit that reaches past a company's action re-bases the
        pair: what that action froze is released.

        Raises:
            InputInvalid: not two different symbols, no or not enough stored bars, bars that a verdict blocks, a fit
                that is no pair at all (beta not positive, no mean reversion), or a trade of the pair is under way.
        """
        parse_pair_id(pair_id(symbol_1, symbol_2))
        ends = [end for _, end in self.calendar.last_spans(until, bars)]
        with self.store() as work:
            _refuse_blocked(work.repo.data_blocks([symbol_1, symbol_2]))
            series = work.repo.closes([symbol_1, symbol_2], ends)
            fit = self._fit(series, bars)
            reasons = tuple(judge_fit(fit, self.bounds))
            pair = _pair(series.symbols, fit, PairMode.OBSERVE if reasons and mode is PairMode.ACTIVE else mode)
            wanted = RegisteredPair(pair, fit.correlation, ends[0], ends[-1], version=1)
            version = _register(work.repo, wanted, _audit(pair, fit, reasons, who, why))
            released = work.repo.release(pair.id, wanted.fitted_to, who)
            if released:
                work.repo.note(AuditNote(who, "pair re-based", pair.id, why, {"released": released}))
            work.commit()
        return Registration(pair, fit, reasons, version)

    def mode_to_rebase(self, pair: str, until: datetime) -> PairMode:
        """Return the mode of a frozen pair that a fit up to `until` would re-base.

        Raises:
            InputInvalid: it is not registered, not frozen, its symbol has changed or ended, or no bar has been
                finished since the action.
        """
        parse_pair_id(pair)
        with self.store() as work:
            known, freezes = work.repo.registered(pair), work.repo.freezes(pair)
        if known is None:
            raise InputInvalid(f"{pair} is not registered: name it with `tradewinds pairs add {pair}`.")
        if not freezes:
            raise InputInvalid(f"{pair} is not frozen: there is nothing to re-base.")
        for freeze in freezes:
            if freeze.kind in _ENDS_A_SYMBOL:
                raise InputInvalid(
                    f"{freeze.symbol} is not traded under that name any more: name the pair's successor "
                    "with `tradewinds pairs add`."
                )
        if freezes[-1].effective_at >= until:
            raise InputInvalid(f"{pair} can be re-based once an hour is finished after {freezes[-1].effective_at}.")
        return known.pair.mode

    def _evaluate(self, repo: StrategyRepository, time: SlotTime) -> list[Evaluation]:
        watched = repo.watched_pairs(time.slot)
        if not watched:
            return []
        window = max(each.pair.z_window_bars for each in watched)
        ends = [end for _, end in self.calendar.last_spans(time.slot, min(window, self.history_bars))]
        symbols = _symbols(watched)
        series = repo.closes(symbols, ends)
        watched = with_blocks(watched, repo.data_blocks(symbols))
        watched = _under_instances(watched, repo.pair_instances(), self.thresholds)
        return evaluate_pairs(watched, series, time, self.thresholds, self.calendar)

    def _fit(self, series: CloseSeries, bars: int) -> PairFit:
        name = "/".join(series.symbols)
        for symbol in series.symbols:
            if np.isnan(series.column(symbol)).all():
                raise InputInvalid(f"No hourly bars of {symbol} are stored in that window: load them first.")
        common = int((~np.isnan(series.closes)).all(axis=1).sum())
        if common < LEAST_COVERAGE * bars:
            raise InputInvalid(f"{name} has {common} common bars stored of the {bars} asked for: load more.")
        fit = fit_pair(*series.pair(*series.symbols), self.bounds)
        refuse_no_pair(name, fit)
        return fit


def close_of_slot(calendar: TradingCalendar, slot: datetime, now: datetime, market_close: datetime) -> datetime:
    """Return when the slot's session ends: as the calendar says, or earlier by the broker's word.

    Raises:
        InputInvalid: `slot` is not the end of a bar, or lies after `now`.
    """
    if slot > now:
        raise InputInvalid(f"The slot {slot_key(slot)} is not finished at {slot_key(now)}: wait for its bar.")
    session = calendar.session_at(slot - timedelta(microseconds=1))
    if session is None or slot not in {end for _, end in session.bar_spans()}:
        raise InputInvalid(f"{slot_key(slot)} is not the end of an hourly bar: give a slot of the calendar.")
    return min(session.close, market_close)


def _register(repo: StrategyRepository, wanted: RegisteredPair, why: AuditNote) -> int:
    before = repo.registered(wanted.pair.id)
    if before is not None and replace(before, version=wanted.version) == wanted:
        return before.version
    if repo.has_unfinished_trade(wanted.pair.id):
        raise InputInvalid(f"{wanted.pair.id} has a trade under way: register it again once that is closed.")
    after = replace(wanted, version=before.version + 1 if before else 1)
    repo.save(after, f"registered by {why.who}")
    repo.note(why)
    if before is None or before.pair.mode is not after.pair.mode:
        repo.tell([_mode_changed(before, after, why)])
    return after.version


def _audit(pair: Pair, fit: PairFit, reasons: Sequence[FitReason], who: str, why: str) -> AuditNote:
    numbers = {**asdict(fit), "mode": pair.mode.value, "judgement": ", ".join(reasons) or "good"}
    return AuditNote(who, "pair registered", pair.id, why, numbers)


def _mode_changed(before: RegisteredPair | None, after: RegisteredPair, why: AuditNote) -> PairModeChanged:
    return PairModeChanged.of(
        after.pair.id,
        after.version,
        after.fitted_to,
        slot_key(after.fitted_to),
        pair_id=after.pair.id,
        before=before.pair.mode.value if before else None,
        after=after.pair.mode.value,
        who=why.who,
        why=why.why,
    )


def _pair(symbols: Sequence[str], fit: PairFit, mode: PairMode) -> Pair:
    return Pair(
        symbols[0],
        symbols[1],
        fit.alpha,
        fit.beta,
        fit.half_life_bars,
        fit.z_window_bars,
        fit.time_stop_bars,
        mode,
    )


def _refuse_blocked(blocks: Sequence[DataBlock]) -> None:
    if blocks:
        first = blocks[0]
        raise InputInvalid(
            f"The bars of {first.symbol} can't be fitted on: {first.reason} ({first.rule}); "
            f"see `tradewinds data status --symbols {first.symbol}`."
        )


def _under_instances(
    watched: Sequence[WatchedPair], instances: Sequence[Instance], usual: Thresholds
) -> list[WatchedPair]:
    """Give each pair the rules of the instance that it is traded under; an observing one keeps it from trading."""
    covers = covers_of((each.pair.id for each in watched), instances)
    return [
        replace(each, pair=limited_by(each.pair, cover), rules=rules_of(cover, usual))
        for each in watched
        for cover in (covers[each.pair.id],)
    ]


def with_blocks(watched: Sequence[WatchedPair], blocks: Sequence[DataBlock]) -> list[WatchedPair]:
    """Give each pair the first fault of its bars, that of its first leg before that of its second."""
    first = {block.symbol: block for block in reversed(blocks)}
    return [
        replace(each, block=first.get(each.pair.symbol_1) or first.get(each.pair.symbol_2)) if first else each
        for each in watched
    ]


def _symbols(watched: Sequence[WatchedPair]) -> list[str]:
    return sorted({symbol for each in watched for symbol in (each.pair.symbol_1, each.pair.symbol_2)})


def _raised(evaluation: Evaluation) -> SignalRaised:
    signal = evaluation.signal
    return SignalRaised.of(
        signal.id,
        1,
        signal.slot,
        slot_key(signal.slot),
        pair_id=signal.pair_id,
        action=signal.action.value,
        reason=signal.reason,
        z=signal.reading.z if signal.reading else None,
    )
