"""The verbs of a pair's life: promote, demote, retire, review, and look. Each step is one transaction, audited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from src.services.strategy_engine.domain.life import (
    LifeRules,
    Obstacle,
    Standing,
    Step,
    demotion,
    promotion,
    retirement,
    review,
)
from src.services.strategy_engine.domain.scan.engle_granger import ScanProblem, scan_pairs
from src.services.strategy_engine.ports import AuditLine, LifeRepository, PairCard
from src.services.strategy_engine.use_cases.pair_events import commit_pair, pair_event
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_pair_id
from src.shared.domain.pairs import PairMode
from src.shared.domain.sessions import TradingCalendar
from src.shared.ports.unit_of_work import UnitOfWork

REVIEWER = "review-pairs"
Wish = Callable[[Standing, LifeRules], tuple[Step, list[Obstacle]]]
"""What is asked of a pair: `promotion`, `demotion` or `retirement`."""

_REVIEWED = (PairMode.OBSERVE, PairMode.ACTIVE, PairMode.CLOSING)
# Why the review moves a pair that nothing is wrong with.
_UNPROMPTED = {
    PairMode.CLOSING: "its trade is over",
    PairMode.OBSERVE: "it passed the gate and was watched long enough; pairs are promoted without asking",
}
# Fewer common bars than these say nothing about cointegration.
LEAST_RETEST_BARS = 100


@dataclass(frozen=True)
class Reviewed:
    """What the review made of one pair: its mode before and after, why, and the p-value of the re-test."""

    pair_id: str
    before: PairMode
    after: PairMode
    causes: tuple[str, ...]
    p_value: float | None
    watched_bars: int

    @property
    def has_moved(self) -> bool:
        """Say whether the pair took a step."""
        return self.before is not self.after


@dataclass(frozen=True)
class PairLives:
    """Moves pairs from mode to mode. `auto_promote` lets the review do what a person otherwise decides."""

    store: UnitOfWork[LifeRepository]
    calendar: TradingCalendar
    rules: LifeRules
    history_bars: int
    auto_promote: bool

    def promote(self, pair: str, *, at: datetime, who: str, why: str) -> PairCard:
        """Take a pair one step up, candidate → observe → active, and return it as it is then.

        Raises:
            InputInvalid: it is not registered, no reason is given, or something is in its way; the message says what.
        """
        return self._move(pair, promotion, "promoted", at, who, why)

    def demote(self, pair: str, *, at: datetime, who: str, why: str) -> PairCard:
        """Take an active pair back to observe; one with a trade under way closes it first. Raises as `promote`."""
        return self._move(pair, demotion, "demoted", at, who, why)

    def retire(self, pair: str, *, at: datetime, who: str, why: str) -> PairCard:
        """Take a pair out; one with a trade under way closes it first. Raises as `promote`."""
        return self._move(pair, retirement, "retired", at, who, why)

    def review(self, now: datetime, who: str = REVIEWER) -> list[Reviewed]:
        """Re-test every watched pair on its last finished bars before `now` and take the steps that are due."""
        with self.store() as work:
            cards = [card for card in work.repo.cards() if card.standing.mode in _REVIEWED]
            p_values = self._retest(work.repo, cards, now)
        return [self._review(card.standing.pair_id, p_values, now, who) for card in cards]

    def cards(self) -> list[PairCard]:
        """Read every pair and where it stands, by id."""
        with self.store() as work:
            return work.repo.cards()

    def card(self, pair: str) -> PairCard:
        """Read one pair.

        Raises:
            InputInvalid: it is not registered.
        """
        with self.store() as work:
            return _card(work.repo, pair)

    def ways_up(self, card: PairCard) -> list[Obstacle]:
        """List what keeps a pair from its next promotion, as far as stored numbers say."""
        has_next = card.standing.mode in (PairMode.CANDIDATE, PairMode.OBSERVE)
        return promotion(card.standing, self.rules)[1] if has_next else []

    def history(self, pair: str) -> list[AuditLine]:
        """Read what happened to a pair and who did it, oldest first. Raises as `card`."""
        with self.store() as work:
            _card(work.repo, pair)
            return work.repo.history(pair)

    def _move(self, pair: str, wish: Wish, verb: str, at: datetime, who: str, why: str) -> PairCard:
        if not why.strip():
            raise InputInvalid(f"Say why {pair} is {verb} (--why): it is kept in the audit log.")
        with self.store() as work:
            card = _locked(work.repo, pair)
            # Only a step up asks whether the legs still belong together.
            p_values = self._retest(work.repo, [card], at) if wish is promotion else {}
            standing = replace(card.standing, p_value=p_values.get(pair))
            step, against = wish(standing, self.rules)
            if against:
                raise InputInvalid(f"{pair} is not {verb}: {'; '.join(map(str, against))}.")
            _take(work.repo, card, standing, step, _Said(f"pair {verb}", who, why), at)
            commit_pair(work)
        return self.card(pair)

    def _review(self, pair: str, p_values: Mapping[str, float], now: datetime, who: str) -> Reviewed:
        with self.store() as work:
            card = _locked(work.repo, pair)
            standing = replace(card.standing, p_value=p_values.get(pair))
            due = review(standing, self.rules, may_promote=self.auto_promote)
            step, causes = due if due is not None else (Step(standing.mode), [])
            if due is not None:
                why = "; ".join(map(str, causes)) or _UNPROMPTED[standing.mode]
                said = _Said(f"pair {_verb(standing.mode, step)}", who, why)
                _take(work.repo, card, standing, step, said, now, causes)
                commit_pair(work)
        told = tuple(map(str, causes))
        return Reviewed(pair, standing.mode, step.after, told, standing.p_value, standing.watched_bars)

    def _retest(self, repo: LifeRepository, cards: Sequence[PairCard], now: datetime) -> dict[str, float]:
        """Test the pairs for cointegration; one without enough common bars has no p-value."""
        if not cards:
            return {}
        ends = [end for _, end in self.calendar.last_spans(now, self.history_bars)]
        pairs = [card.registered.pair for card in cards]
        symbols = sorted({symbol for pair in pairs for symbol in (pair.symbol_1, pair.symbol_2)})
        series = repo.closes(symbols, ends)
        tested = {pair.id: retest(series, pair.symbol_1, pair.symbol_2) for pair in pairs}
        return {pair: p for pair, p in tested.items() if p is not None}


def retest(series: CloseSeries, symbol_1: str, symbol_2: str) -> float | None:
    """Return the better p-value of Engle–Granger both ways over the common bars; None where it can't be told."""
    closes = np.column_stack(series.pair(symbol_1, symbol_2))
    with np.errstate(invalid="ignore"):
        common = closes[(closes > 0).all(axis=1)]
    if len(common) < LEAST_RETEST_BARS:
        return None
    found = scan_pairs(np.log(common), np.array([[0], [1]], dtype=np.intp))
    return float(found.p_value.min()) if found.problem[0] == ScanProblem.NONE else None


@dataclass(frozen=True)
class _Said:
    """What the audit log says of a step."""

    what: str
    who: str
    why: str


def _locked(repo: LifeRepository, pair: str) -> PairCard:
    """Read a pair and keep it, and new trades of it, from changing until the transaction ends."""
    parse_pair_id(pair)
    repo.registered(pair)
    return _card(repo, pair)


def _card(repo: LifeRepository, pair: str) -> PairCard:
    parse_pair_id(pair)
    cards = repo.cards([pair])
    if not cards:
        raise InputInvalid(f"{pair} is not registered: name it with `tradewinds pairs add {pair}`.")
    return cards[0]


def _take(
    repo: LifeRepository,
    card: PairCard,
    standing: Standing,
    step: Step,
    said: _Said,
    at: datetime,
    causes: Iterable[Obstacle] = (),
) -> None:
    before = card.registered
    after = replace(
        before,
        pair=replace(before.pair, mode=step.after),
        after_closing=step.after_closing,
        version=before.version + 1,
    )
    repo.save(after, card.source, demoted=standing.mode is PairMode.ACTIVE)
    repo.note(AuditNote(said.who, said.what, standing.pair_id, said.why, _numbers(standing, step, causes)))
    repo.tell([pair_event(standing.mode, after, at, said.who, said.why)])


def _numbers(standing: Standing, step: Step, causes: Iterable[Obstacle]) -> dict[str, object]:
    gate = standing.gate
    return {
        "before": standing.mode.value,
        "after": step.after.value,
        "after_closing": step.after_closing.value if step.after_closing else None,
        "reasons": [cause.reason.value for cause in causes],
        "gate_id": str(gate.id) if gate else None,
        "gate_passed": gate.passed if gate else None,
        "watched_bars": standing.watched_bars,
        "trades": len(standing.booked),
        "record": [str(result) for result in standing.record],
        "p_value": standing.p_value,
        "trade_under_way": standing.is_held,
    }


def _verb(before: PairMode, step: Step) -> str:
    if step.after is PairMode.ACTIVE:
        return "promoted"
    if PairMode.RETIRED in (step.after, step.after_closing):
        return "retired"
    return "closed" if before is PairMode.CLOSING else "demoted"
