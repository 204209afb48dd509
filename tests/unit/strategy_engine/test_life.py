from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.life import (
    LIFE,
    GateRecord,
    LifeRules,
    Standing,
    Step,
    decay,
    demotion,
    obstacles,
    promotion,
    retirement,
    review,
)
from src.services.strategy_engine.domain.reasons import LifeReason
from src.shared.domain.pairs import FoundBy, PairMode

CANDIDATE, OBSERVE, ACTIVE, CLOSING, RETIRED = PairMode
NOW = datetime(2026, 3, 10, 22, 30, tzinfo=UTC)
RULES = LifeRules()
PASSED = GateRecord(UUID(int=1), passed=True, judged_at=NOW)
FAILED = GateRecord(UUID(int=2), passed=False, judged_at=NOW, failures=("Sharpe 0.10, more than 0.50 needed",))
WATCHED = Standing("KO/PEP", OBSERVE, gate=PASSED, watched_bars=20)


def results(wins: int, losses: int, win: str = "10", loss: str = "-10") -> tuple[Decimal, ...]:
    return (Decimal(win),) * wins + (Decimal(loss),) * losses


ALLOWED = {
    (CANDIDATE, OBSERVE),
    (CANDIDATE, RETIRED),
    (OBSERVE, ACTIVE),
    (OBSERVE, CLOSING),
    (OBSERVE, RETIRED),
    (ACTIVE, OBSERVE),
    (ACTIVE, CLOSING),
    (ACTIVE, RETIRED),
    (CLOSING, CLOSING),
    (CLOSING, OBSERVE),
    (CLOSING, RETIRED),
}


@pytest.mark.parametrize(("before", "after"), list(product(PairMode, PairMode)))
def test_a_step_is_in_the_table_or_refused_with_a_reason(before: PairMode, after: PairMode) -> None:
    standing = replace(WATCHED, mode=before, is_held=after is CLOSING)

    found = [each.reason for each in obstacles(standing, after, RULES)]

    assert found == ([] if (before, after) in ALLOWED else [LifeReason.NO_SUCH_STEP])


def test_the_table_holds_no_way_to_active_but_from_observe() -> None:
    assert [before for before, after in LIFE if after is ACTIVE] == [OBSERVE]


@pytest.mark.parametrize(("before", "after"), sorted(ALLOWED))
def test_a_step_needs_a_trade_exactly_where_it_is_to_closing(before: PairMode, after: PairMode) -> None:
    wrong = replace(WATCHED, mode=before, is_held=after is not CLOSING)

    found = [each.reason for each in obstacles(wrong, after, RULES)]

    if (before, after) == (CANDIDATE, OBSERVE):
        assert found == []
    else:
        assert found == [LifeReason.NO_TRADE if after is CLOSING else LifeReason.TRADE_UNDER_WAY]


@pytest.mark.parametrize(
    ("lacking", "reason", "words"),
    [
        ({"gate": None}, LifeReason.NOT_JUDGED, "`tradewinds pairs add KO/PEP` judges it anew"),
        ({"gate": FAILED}, LifeReason.GATE_FAILED, "Sharpe 0.10, more than 0.50 needed"),
        ({"demoted_at": NOW}, LifeReason.JUDGED_BEFORE_DEMOTION, "demoted since the gate judged it"),
        ({"watched_bars": 19}, LifeReason.NOT_WATCHED, "19 hours were watched without a fault in its data, 20 are"),
        ({"booked": results(1, 19)}, LifeReason.NO_EDGE, "it would be sized to nothing"),
        (
            {"record": results(0, 5)},
            LifeReason.LOSING_RECORD,
            "of its last 5 trades 0% won, and they lost $10.00 each",
        ),
        ({"p_value": 0.21}, LifeReason.COINTEGRATION_LOST, "p 0.21, at most 0.20"),
        ({"action": "KO had a split"}, LifeReason.CORPORATE_ACTION, "KO had a split"),
        ({"is_held": True}, LifeReason.TRADE_UNDER_WAY, "a trade of it is under way"),
    ],
)
def test_each_condition_alone_keeps_a_pair_from_active_and_is_named(
    lacking: dict[str, object], reason: LifeReason, words: str
) -> None:
    step, against = promotion(replace(WATCHED, **lacking), RULES)  # type: ignore[arg-type]

    assert step == Step(ACTIVE)
    assert [each.reason for each in against] == [reason]
    assert words in str(against[0])


def test_a_pair_that_lacks_nothing_is_promoted_one_step() -> None:
    assert promotion(WATCHED, RULES) == (Step(ACTIVE), [])
    assert promotion(replace(WATCHED, mode=CANDIDATE, gate=None), RULES) == (Step(OBSERVE), [])
    # Judged anew after a demotion.
    assert promotion(replace(WATCHED, demoted_at=NOW - timedelta(seconds=1)), RULES)[1] == []


@pytest.mark.parametrize("mode", [ACTIVE, CLOSING, RETIRED])
def test_what_is_past_observe_is_not_promoted(mode: PairMode) -> None:
    [against] = promotion(replace(WATCHED, mode=mode), RULES)[1]

    assert against.reason is LifeReason.NO_SUCH_STEP


@pytest.mark.parametrize(
    ("mode", "is_held", "step"),
    [
        (ACTIVE, False, Step(OBSERVE)),
        (ACTIVE, True, Step(CLOSING, OBSERVE)),
        (CANDIDATE, False, None),
        (OBSERVE, False, None),
        (CLOSING, True, None),
        (RETIRED, False, None),
    ],
)
def test_only_an_active_pair_is_demoted_and_its_trade_is_closed_first(
    mode: PairMode, is_held: bool, step: Step | None
) -> None:
    found, against = demotion(replace(WATCHED, mode=mode, is_held=is_held), RULES)

    if step is None:
        assert [each.reason for each in against] == [LifeReason.NO_SUCH_STEP]
    else:
        assert (found, against) == (step, [])


@pytest.mark.parametrize("mode", [CANDIDATE, OBSERVE, ACTIVE, CLOSING])
@pytest.mark.parametrize("is_held", [False, True])
def test_a_pair_is_retired_from_anywhere_and_its_trade_is_closed_first(mode: PairMode, is_held: bool) -> None:
    step, against = retirement(replace(WATCHED, mode=mode, is_held=is_held), RULES)

    if mode is CANDIDATE and is_held:
        assert [each.reason for each in against] == [LifeReason.NO_SUCH_STEP]
    else:
        assert (step, against) == (Step(CLOSING, RETIRED) if is_held else Step(RETIRED), [])


def test_a_retired_pair_stays_retired_and_is_told_how_it_comes_back() -> None:
    [twice] = retirement(replace(WATCHED, mode=RETIRED), RULES)[1]
    [again] = promotion(replace(WATCHED, mode=RETIRED), RULES)[1]

    assert str(twice) == "it is retired already"
    assert "`tradewinds pairs add KO/PEP` revives it" in str(again)


@pytest.mark.parametrize(
    ("record", "is_losing"),
    [
        (results(0, 4), False),  # too short
        (results(1, 4), True),
        (results(0, 5), True),
        (results(7, 13), True),  # of the last ten none won
        (results(13, 7)[::-1], False),
        (results(2, 3), False),  # 40 % won
        (results(1, 4, win="50"), False),  # they made money all the same
        (results(1, 4, win="40"), False),  # … or lost none
    ],
)
def test_a_record_is_losing_when_few_of_at_least_five_trades_won_and_the_mean_is_a_loss(
    record: tuple[Decimal, ...], is_losing: bool
) -> None:
    found = [each.reason for each in decay(Standing("KO/PEP", ACTIVE, record=record), RULES)]

    assert found == ([LifeReason.LOSING_RECORD] if is_losing else [])


@pytest.mark.parametrize(
    ("booked", "has_edge"),
    [
        (results(9, 10), True),  # too few for Kelly
        (results(10, 10), False),  # exactly none
        (results(11, 10), True),
        (results(0, 30), True),  # without a win there is no ratio: the record speaks
        (results(1, 60) + results(60, 40), True),  # the last hundred count
    ],
)
def test_a_pair_without_an_edge_is_one_that_sizing_would_stake_nothing_on(
    booked: tuple[Decimal, ...], has_edge: bool
) -> None:
    found = [each.reason for each in decay(Standing("KO/PEP", ACTIVE, booked=booked), RULES)]

    assert found == ([] if has_edge else [LifeReason.NO_EDGE])


def test_the_review_demotes_what_has_decayed_and_manages_its_trade_to_the_end() -> None:
    decayed = replace(WATCHED, mode=ACTIVE, p_value=0.5)

    assert review(replace(WATCHED, mode=ACTIVE), RULES, may_promote=True) is None
    flat, held = (review(replace(decayed, is_held=held), RULES, may_promote=True) for held in (False, True))
    assert flat is not None
    assert held is not None
    assert (flat[0], held[0]) == (Step(OBSERVE), Step(CLOSING, OBSERVE))
    assert [each.reason for each in flat[1]] == [LifeReason.COINTEGRATION_LOST]


@pytest.mark.parametrize(("target", "after"), [(OBSERVE, OBSERVE), (RETIRED, RETIRED), (None, OBSERVE)])
def test_the_review_ends_a_closing_pair_once_its_trade_is_over(target: PairMode | None, after: PairMode) -> None:
    closing = replace(WATCHED, mode=CLOSING, after_closing=target, is_held=True)

    assert review(closing, RULES, may_promote=True) is None
    assert review(replace(closing, is_held=False), RULES, may_promote=False) == (Step(after), [])


def test_the_review_promotes_only_where_it_may_and_nothing_is_in_the_way() -> None:
    assert review(WATCHED, RULES, may_promote=False) is None
    assert review(WATCHED, RULES, may_promote=True) == (Step(ACTIVE), [])
    assert review(replace(WATCHED, gate=FAILED), RULES, may_promote=True) is None
    assert review(replace(WATCHED, watched_bars=19), RULES, may_promote=True) is None


def test_the_review_retires_what_discovery_found_and_lost_and_keeps_what_a_person_named() -> None:
    apart = replace(WATCHED, p_value=0.9)
    found = review(replace(apart, found_by=FoundBy.DISCOVERY), RULES, may_promote=True)

    assert found is not None
    assert found[0] == Step(RETIRED)
    assert review(apart, RULES, may_promote=True) is None


standings = st.builds(
    Standing,
    pair_id=st.just("KO/PEP"),
    mode=st.sampled_from(PairMode),
    found_by=st.sampled_from(FoundBy),
    after_closing=st.sampled_from([None, OBSERVE, RETIRED]),
    gate=st.sampled_from([None, PASSED, FAILED]),
    demoted_at=st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=1)]),
    watched_bars=st.integers(0, 40),
    is_held=st.booleans(),
    record=st.lists(st.decimals(-50, 50, places=2), max_size=15).map(tuple),
    booked=st.lists(st.decimals(-50, 50, places=2), max_size=120).map(tuple),
    p_value=st.none() | st.floats(0, 1),
    action=st.sampled_from([None, "KO had a split"]),
)


@settings(deadline=None)
@given(standing=standings, may_promote=st.booleans())
def test_no_verb_takes_a_step_that_the_table_refuses_or_leaves_a_trade_alone(
    standing: Standing, may_promote: bool
) -> None:
    taken = [step for step, against in (v(standing, RULES) for v in (promotion, demotion, retirement)) if not against]
    due = review(standing, RULES, may_promote=may_promote)
    taken += [due[0]] if due else []

    for step in taken:
        assert obstacles(standing, step.after, RULES) == []
        assert not standing.is_held or step.after is CLOSING or standing.mode is CANDIDATE
        assert (step.after_closing is not None) <= (step.after is CLOSING)
        if step.after is ACTIVE:
            assert standing.gate is PASSED
            assert standing.watched_bars >= 20
            assert decay(standing, RULES) == []
    assert due is None or due[0].after is not ACTIVE or may_promote
