"""The verbs of the strategy engine: evaluate a slot, register a pair, say which symbols to watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from src.services.strategy_engine.domain.decision import DataBlock, PairWish, Thresholds
from src.services.strategy_engine.domain.evaluation import (
    Evaluation,
    SlotTime,
    WatchedPair,
    evaluate_pairs,
    symbols_of,
)
from src.services.strategy_engine.domain.fit import FitBounds, PairFit
from src.services.strategy_engine.domain.gate import Gate, TriedFit, try_fit
from src.services.strategy_engine.domain.instances import Instance, covers_of, limited_by, rules_of
from src.services.strategy_engine.domain.life import LifeRules, Obstacle, Standing, was_watched
from src.services.strategy_engine.domain.trial import TrialTrade
from src.services.strategy_engine.ports import Judgement, RegisteredPair, StrategyRepository
from src.services.strategy_engine.use_cases.pair_events import commit_pair, pair_event
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.corporate_actions import CorporateActionKind
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import derived_id, pair_id, parse_pair_id, slot_key
from src.shared.domain.pairs import FoundBy, Pair, PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import Signal
from src.shared.failpoints import failpoint
from src.shared.messages.signals import SignalRaised
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
    """A pair as it was registered, its fit with the trial, and why it may not be traded (then it is observed)."""

    pair: Pair
    tried: TriedFit
    reasons: tuple[StrEnum, ...]
    objections: tuple[str, ...]
    version: int

    @property
    def fit(self) -> PairFit:
        """The fit on the first part of the bars."""
        return self.tried.fit


@dataclass(frozen=True)
class StrategyEngine:
    """Decides about pairs. It is the only writer of the pair registry, spreads and signals."""

    store: UnitOfWork[StrategyRepository]
    calendar: TradingCalendar
    thresholds: Thresholds
    bounds: FitBounds
    history_bars: int
    gate: Gate = field(default_factory=Gate)
    life: LifeRules = field(default_factory=LifeRules)

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
        """List the symbols of every watched pair and of trades in one symbol, sorted: what a slot needs bars of."""
        with self.store() as work:
            return work.repo.watched_symbols()

    def register_pair(
        self,
        symbol_1: str,
        symbol_2: str,
        *,
        until: datetime,
        bars: int,
        mode: PairMode,
        who: str,
        why: str,
        found_by: FoundBy = FoundBy.PERSON,
    ) -> Registration:
        """Fit a pair on the first part of its last `bars` stored closes up to `until`, try it on the rest, keep both.

        A pair that is there gets the new fit. One that does not pass the gate is registered as observe, whatever
        `mode` asks for, and so is one that discovery found and that was not watched long enough. Registering the same
        again changes nothing. Bars that reach past a company's action re-base the pair: what it froze is released.

        Raises:
            InputInvalid: not two different symbols, no or not enough stored bars, bars that a verdict blocks, a fit
                that is no pair at all (beta not positive, no mean reversion), or a trade of the pair is under way.
        """
        parse_pair_id(pair_id(symbol_1, symbol_2))
        ends = [end for _, end in self.calendar.last_spans(until, bars)]
        with self.store() as work:
            _refuse_blocked(work.repo.data_blocks([symbol_1, symbol_2]))
            tried = self._try(work.repo.closes([symbol_1, symbol_2], ends), bars)
            before = work.repo.registered(tried.pair.id)
            unwatched = self._unwatched(work.repo, before) if mode is PairMode.ACTIVE else ()
            is_barred = not tried.passed or bool(unwatched)
            allowed = PairMode.OBSERVE if is_barred and mode is PairMode.ACTIVE else mode
            version = before.version + 1 if before else 1
            wanted = RegisteredPair(
                pair=replace(tried.pair, mode=allowed),
                correlation=tried.fit.correlation,
                fitted_from=ends[0],
                fitted_to=ends[-1],
                version=version,
                gate_id=derived_id("gate", tried.pair.id, slot_key(ends[-1]), str(version)),
                gate_passed=tried.passed,
                found_by=before.found_by if before and before.pair.mode is not PairMode.RETIRED else found_by,
            )
            judged = Judgement(
                derived_id("gate", tried.pair.id, slot_key(ends[-1]), str(version)),
                tried,
                fitted_from=ends[0],
                fitted_to=ends[tried.first_unseen - 1],
                judged_to=ends[-1],
                numbers=self._trial_numbers(tried),
                who=who,
                why=why,
            )
            version = _register(work.repo, before, wanted, judged)
            released = work.repo.release(tried.pair.id, wanted.fitted_to, who)
            if released:
                work.repo.note(AuditNote(who, "pair re-based", tried.pair.id, why, {"released": released}))
            commit_pair(work)
        reasons = (*tried.objections, *tried.verdict.reasons, *(each.reason for each in unwatched))
        return Registration(wanted.pair, tried, reasons, (*tried.failures, *map(str, unwatched)), version)

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
        symbols = symbols_of(watched)
        series = repo.closes(symbols, ends)
        watched = with_blocks(watched, repo.data_blocks(symbols))
        watched = _under_instances(watched, repo.pair_instances(), repo.pair_wishes(time.slot), self.thresholds)
        return evaluate_pairs(watched, series, time, self.thresholds, self.calendar)

    def _try(self, series: CloseSeries, bars: int) -> TriedFit:
        name = "/".join(series.symbols)
        for symbol in series.symbols:
            if np.isnan(series.column(symbol)).all():
                raise InputInvalid(f"No hourly bars of {symbol} are stored in that window: load them first.")
        common = int((~np.isnan(series.closes)).all(axis=1).sum())
        if common < LEAST_COVERAGE * bars:
            raise InputInvalid(f"{name} has {common} common bars stored of the {bars} asked for: load more.")
        return try_fit(series, self.bounds, self.gate, self.thresholds, self.calendar)

    def _unwatched(self, repo: StrategyRepository, before: RegisteredPair | None) -> Sequence[Obstacle]:
        """Say what is missing to trade a pair that discovery found, which nobody has named before."""
        if before is None or before.found_by is FoundBy.PERSON:
            return ()
        if before.pair.mode in (PairMode.ACTIVE, PairMode.RETIRED):
            return ()
        standing = Standing(before.pair.id, before.pair.mode, watched_bars=repo.watched_bars(before.pair.id))
        return was_watched(standing, self.life)

    def _trial_numbers(self, tried: TriedFit) -> dict[str, object]:
        trial, rules = tried.verdict.trial, self.thresholds
        return {
            "share": self.gate.share,
            "costs": asdict(self.gate.costs),
            "thresholds": {
                "entry_z": rules.entry_z,
                "exit_z": rules.exit_z,
                "stop_z": rules.stop_z,
                "overnight": rules.overnight,
            },
            "open_at_end": trial.open_at_end,
            "trades": [_trial_trade(trade) for trade in trial.trades],
        }


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


def _trial_trade(trade: TrialTrade) -> dict[str, object]:
    return {
        "direction": trade.direction.value,
        "entry_slot": slot_key(trade.entry_slot),
        "exit_slot": slot_key(trade.exit_slot),
        "entry_prices": list(trade.entry_prices),
        "exit_prices": list(trade.exit_prices),
        "exit_reason": trade.exit_reason.value if trade.exit_reason else None,
        "gross_return": trade.gross_return,
        "costs": trade.costs,
    }


def _register(
    repo: StrategyRepository, before: RegisteredPair | None, wanted: RegisteredPair, judged: Judgement
) -> int:
    if before is not None and replace(before, version=wanted.version, gate_id=wanted.gate_id) == wanted:
        return before.version
    if repo.has_unfinished_trade(wanted.pair.id):
        raise InputInvalid(f"{wanted.pair.id} has a trade under way: register it again once that is closed.")
    repo.keep_verdict(judged)
    is_demoted = before is not None and before.pair.mode is PairMode.ACTIVE and wanted.pair.mode is PairMode.OBSERVE
    repo.save(wanted, f"registered by {judged.who}", demoted=is_demoted)
    repo.note(_audit(wanted, judged))
    mode = before.pair.mode if before else None
    repo.tell([pair_event(mode, wanted, wanted.fitted_to, judged.who, judged.why)])
    return wanted.version


def _audit(wanted: RegisteredPair, judged: Judgement) -> AuditNote:
    tried, trial = judged.tried, judged.tried.verdict.trial
    numbers = {
        **asdict(tried.fit),
        "mode": wanted.pair.mode.value,
        "judgement": ", ".join(tried.failures) or "good",
        "gate_id": str(judged.id),
        "sharpe": trial.sharpe,
        "win_rate": trial.win_rate,
        "max_drawdown": trial.max_drawdown,
        "round_trips": trial.round_trips,
    }
    return AuditNote(judged.who, "pair registered", wanted.pair.id, judged.why, numbers)


def _refuse_blocked(blocks: Sequence[DataBlock]) -> None:
    if blocks:
        first = blocks[0]
        raise InputInvalid(
            f"The bars of {first.symbol} can't be fitted on: {first.reason} ({first.rule}); "
            f"see `tradewinds data status --symbols {first.symbol}`."
        )


def _under_instances(
    watched: Sequence[WatchedPair],
    instances: Sequence[Instance],
    wishes: Mapping[tuple[str, str], PairWish],
    usual: Thresholds,
) -> list[WatchedPair]:
    """Give each pair the rules of the instance that it is traded under; an observing one keeps it from trading."""
    covers = covers_of((each.pair.id for each in watched), instances)
    return [
        replace(each, pair=limited_by(each.pair, cover), rules=rules_of(cover, usual, wish))
        for each in watched
        for cover in (covers[each.pair.id],)
        for wish in (wishes.get((cover.instance_id or "", each.pair.id), PairWish.NOTHING),)
    ]


def with_blocks(watched: Sequence[WatchedPair], blocks: Sequence[DataBlock]) -> list[WatchedPair]:
    """Give each pair the first fault of its bars, that of its first leg before that of its second."""
    first = {block.symbol: block for block in reversed(blocks)}
    return [
        replace(each, block=first.get(each.pair.symbol_1) or first.get(each.pair.symbol_2)) if first else each
        for each in watched
    ]


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
