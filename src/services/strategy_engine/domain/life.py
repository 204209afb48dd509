"""The life of a pair: candidate → observe → active → closing → retired, as a table of steps and their conditions.

`LIFE` holds every step that there is. A step that it does not hold is refused, and so is one whose condition is not
met; each refusal says why. Registering a pair is no step of this table: it begins a life (see `use_cases.slots`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from src.services.strategy_engine.domain.reasons import LifeReason
from src.shared.domain.edge import edge_of
from src.shared.domain.pairs import FoundBy, PairMode

_ZERO = Decimal(0)


@dataclass(frozen=True)
class LifeRules:
    """What a pair must keep. Rates are fractions; `edge_*` are the closed trades that sizing looks back on."""

    watch_bars: int = 20
    record_trades: int = 10
    record_least_trades: int = 5
    record_least_win_rate: float = 0.35
    edge_trades: int = 100
    edge_least_trades: int = 20
    retest_most_p: float = 0.20


@dataclass(frozen=True)
class GateRecord:
    """The verdict about a pair's present fit; `failures` are the numbers that fall short, in words."""

    id: UUID
    passed: bool
    judged_at: datetime
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """Where a pair stands, and what its next step is decided from.

    `after_closing` is what a closing pair becomes. `watched_bars` counts the slots in observe since the last fault of
    its data. `record` and `booked` are booked results in dollars, oldest first: of trades since it became active, and
    of all. `p_value` is that of the re-test, None where there was none; `action` is a company's action that took the
    prices' basis.
    """

    pair_id: str
    mode: PairMode
    found_by: FoundBy = FoundBy.PERSON
    after_closing: PairMode | None = None
    gate: GateRecord | None = None
    demoted_at: datetime | None = None
    watched_bars: int = 0
    is_held: bool = False
    record: tuple[Decimal, ...] = ()
    booked: tuple[Decimal, ...] = ()
    p_value: float | None = None
    action: str | None = None


@dataclass(frozen=True)
class Obstacle:
    """Why a step is refused, or why a pair is demoted: the word that is stored and the words for a person."""

    reason: LifeReason
    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Step:
    """A step that a pair takes, and for one that is closing what comes then."""

    after: PairMode
    after_closing: PairMode | None = None


Condition = Callable[[Standing, LifeRules], Sequence[Obstacle]]


def passed_the_gate(standing: Standing, _: LifeRules) -> Sequence[Obstacle]:
    """Ask for a passing verdict about the present fit, given since the pair was last demoted."""
    gate, again = standing.gate, f"`tradewinds pairs add {standing.pair_id}` judges it anew"
    if gate is None:
        return [Obstacle(LifeReason.NOT_JUDGED, f"the gate has not judged its fit: {again}")]
    if not gate.passed:
        return [Obstacle(LifeReason.GATE_FAILED, f"the gate refused it: {', '.join(gate.failures)}")]
    if standing.demoted_at is not None and gate.judged_at <= standing.demoted_at:
        return [Obstacle(LifeReason.JUDGED_BEFORE_DEMOTION, f"it was demoted since the gate judged it: {again}")]
    return []


def was_watched(standing: Standing, rules: LifeRules) -> Sequence[Obstacle]:
    """Ask for enough hours in observe without a fault of its data."""
    if standing.watched_bars >= rules.watch_bars:
        return []
    words = f"{standing.watched_bars} hours were watched without a fault in its data, {rules.watch_bars} are needed"
    return [Obstacle(LifeReason.NOT_WATCHED, words)]


def has_not_decayed(standing: Standing, rules: LifeRules) -> Sequence[Obstacle]:
    """Ask for none of the causes of a demotion."""
    return decay(standing, rules)


def is_flat(standing: Standing, _: LifeRules) -> Sequence[Obstacle]:
    """Ask for no unfinished trade: one is managed to its end."""
    return [Obstacle(LifeReason.TRADE_UNDER_WAY, "a trade of it is under way")] if standing.is_held else []


def is_held(standing: Standing, _: LifeRules) -> Sequence[Obstacle]:
    """Ask for an unfinished trade: without one there is nothing to close."""
    return [] if standing.is_held else [Obstacle(LifeReason.NO_TRADE, "no trade of it is under way")]


LIFE: Mapping[tuple[PairMode, PairMode], tuple[Condition, ...]] = {
    (PairMode.CANDIDATE, PairMode.OBSERVE): (),
    (PairMode.CANDIDATE, PairMode.RETIRED): (is_flat,),
    (PairMode.OBSERVE, PairMode.ACTIVE): (is_flat, passed_the_gate, was_watched, has_not_decayed),
    (PairMode.OBSERVE, PairMode.CLOSING): (is_held,),
    (PairMode.OBSERVE, PairMode.RETIRED): (is_flat,),
    (PairMode.ACTIVE, PairMode.OBSERVE): (is_flat,),
    (PairMode.ACTIVE, PairMode.CLOSING): (is_held,),
    (PairMode.ACTIVE, PairMode.RETIRED): (is_flat,),
    # It goes on closing, and becomes something else afterwards.
    (PairMode.CLOSING, PairMode.CLOSING): (is_held,),
    (PairMode.CLOSING, PairMode.OBSERVE): (is_flat,),
    (PairMode.CLOSING, PairMode.RETIRED): (is_flat,),
}

_UP = {PairMode.CANDIDATE: PairMode.OBSERVE, PairMode.OBSERVE: PairMode.ACTIVE}


def obstacles(standing: Standing, after: PairMode, rules: LifeRules) -> list[Obstacle]:
    """List what keeps a pair from a mode; empty when it may take the step."""
    conditions = LIFE.get((standing.mode, after))
    if conditions is None:
        return [_no_step(standing, after)]
    return [obstacle for condition in conditions for obstacle in condition(standing, rules)]


def promotion(standing: Standing, rules: LifeRules) -> tuple[Step, list[Obstacle]]:
    """Return the step up, candidate → observe → active, and what keeps the pair from it."""
    after = _UP.get(standing.mode, PairMode.ACTIVE)
    return Step(after), obstacles(standing, after, rules)


def demotion(standing: Standing, rules: LifeRules) -> tuple[Step, list[Obstacle]]:
    """Return the step from active back to observe, by way of closing where a trade is under way."""
    if standing.mode is not PairMode.ACTIVE:
        return Step(PairMode.OBSERVE), [_no_step(standing, PairMode.OBSERVE)]
    return _aside(standing, PairMode.OBSERVE, rules)


def retirement(standing: Standing, rules: LifeRules) -> tuple[Step, list[Obstacle]]:
    """Return the step out of the game, by way of closing where a trade is under way."""
    return _aside(standing, PairMode.RETIRED, rules)


def decay(standing: Standing, rules: LifeRules) -> list[Obstacle]:
    """List every cause to demote the pair that there is now."""
    return [
        *_losing(standing.record[-rules.record_trades :], rules),
        *_without_edge(standing.booked[-rules.edge_trades :], rules),
        *_not_cointegrated(standing.p_value, rules),
        *([] if standing.action is None else [Obstacle(LifeReason.CORPORATE_ACTION, standing.action)]),
    ]


def review(standing: Standing, rules: LifeRules, *, may_promote: bool) -> tuple[Step, list[Obstacle]] | None:
    """Return the step that the evening's review takes, with its causes; None where the pair stays what it is.

    An active pair that has decayed is demoted. A closing one whose trade is over goes where it was to go. An observed
    one that discovery had found and whose legs have come apart is retired; another is promoted where `may_promote`
    and nothing stands in its way.
    """
    if standing.mode is PairMode.ACTIVE and (causes := decay(standing, rules)):
        return demotion(standing, rules)[0], causes
    if standing.mode is PairMode.CLOSING and not standing.is_held:
        return Step(standing.after_closing or PairMode.OBSERVE), []
    if standing.mode is PairMode.OBSERVE and not standing.is_held:
        return _review_observed(standing, rules, may_promote=may_promote)
    return None


def _review_observed(
    standing: Standing, rules: LifeRules, *, may_promote: bool
) -> tuple[Step, list[Obstacle]] | None:
    apart = _not_cointegrated(standing.p_value, rules)
    if apart and standing.found_by is FoundBy.DISCOVERY:
        return Step(PairMode.RETIRED), apart
    step, against = promotion(standing, rules)
    return (step, []) if may_promote and not against else None


def _aside(standing: Standing, target: PairMode, rules: LifeRules) -> tuple[Step, list[Obstacle]]:
    if (standing.mode, target) not in LIFE:
        return Step(target), [_no_step(standing, target)]
    step = Step(PairMode.CLOSING, target) if standing.is_held else Step(target)
    return step, obstacles(standing, step.after, rules)


def _no_step(standing: Standing, after: PairMode) -> Obstacle:
    if standing.mode is after:
        words = f"it is {after.value} already"
    else:
        nexts = [to.value for (before, to) in LIFE if before is standing.mode and to is not standing.mode]
        ways = (
            f"it can become {' or '.join(nexts)}"
            if nexts
            else f"`tradewinds pairs add {standing.pair_id}` revives it"
        )
        words = f"no step leads from {standing.mode.value} to {after.value}: {ways}"
    return Obstacle(LifeReason.NO_SUCH_STEP, words)


def _losing(record: Sequence[Decimal], rules: LifeRules) -> list[Obstacle]:
    if len(record) < rules.record_least_trades:
        return []
    rate, mean = sum(result > 0 for result in record) / len(record), sum(record, _ZERO) / len(record)
    if rate >= rules.record_least_win_rate or mean >= 0:
        return []
    words = f"of its last {len(record)} trades {rate:.0%} won, and they lost ${-mean:,.2f} each"
    return [Obstacle(LifeReason.LOSING_RECORD, words)]


def _without_edge(booked: Sequence[Decimal], rules: LifeRules) -> list[Obstacle]:
    edge = edge_of(booked) if len(booked) >= rules.edge_least_trades else None
    if edge is None or edge.half_kelly > 0:
        return []
    words = f"half-Kelly over {len(booked)} trades is {edge.half_kelly:.3f}: it would be sized to nothing"
    return [Obstacle(LifeReason.NO_EDGE, words)]


def _not_cointegrated(p_value: float | None, rules: LifeRules) -> list[Obstacle]:
    if p_value is None or not p_value > rules.retest_most_p:
        return []
    words = f"its legs are cointegrated no more: p {p_value:.2f}, at most {rules.retest_most_p:.2f} is allowed"
    return [Obstacle(LifeReason.COINTEGRATION_LOST, words)]
