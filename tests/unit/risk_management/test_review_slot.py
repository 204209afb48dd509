"""Reviewing a slot, on fakes: once, exits first, entries in order, and losses that change the state."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.risk_management.domain.equity import CashFlow, DayStart, EquityPoint
from src.services.risk_management.domain.events import EarningsReport
from src.services.risk_management.domain.review import OpenTrade, SlotSignal
from src.services.risk_management.ports import Reading
from src.services.risk_management.use_cases.review import PEAK_RESET, STATE_CHANGED, RiskManagement, SlotReview
from src.services.risk_management.use_cases.watch import PortfolioWatch
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.domain.pairs import PairMode
from src.shared.domain.risk import NEEDED_BUYING_POWER, WAS_RECONCILED, RiskDecision, RiskState
from src.shared.domain.signals import SignalAction
from src.shared.messages.risk import TradeApproved, TradeDenied
from tests.fakes.risk_store import FakeBrokerFacts, FakeRiskRepository, FakeRiskStore
from tests.unit.risk_management.examples import (
    CALENDAR,
    CLOSE,
    NOW,
    SEED,
    SESSION,
    SLOT,
    account,
    closed_trades,
    signal,
    standing,
    unrelated_closes,
)

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH")
EXIT, STOP = SignalAction.EXIT, SignalAction.STOP
ENTRY_PAIRS = ("AAA/BBB", "CCC/DDD", "EEE/FFF", "GGG/HHH", "AAA/DDD")


def service(*signals: SlotSignal, equity: str = "100000", **facts: object) -> RiskManagement:
    repo = FakeRiskRepository(list(signals), series=unrelated_closes(SYMBOLS), **facts)  # type: ignore[arg-type]
    broker = FakeBrokerFacts(account(equity))
    return RiskManagement(FakeRiskStore(repo), broker, CALENDAR, SEED, SESSION)


def review(risk: RiskManagement) -> SlotReview:
    return risk.review_slot(SLOT, NOW, True, CLOSE, True)


def store(risk: RiskManagement) -> FakeRiskStore:
    assert isinstance(risk.store, FakeRiskStore)
    return risk.store


def broker(risk: RiskManagement) -> FakeBrokerFacts:
    assert isinstance(risk.broker, FakeBrokerFacts)
    return risk.broker


def codes(reviewed: SlotReview) -> dict[str, str]:
    return {decision.pair_id: decision.code for decision in reviewed.decisions}


def number(decision: RiskDecision, path: tuple[str, str]) -> object:
    numbers = decision.numbers[path[0]]
    assert isinstance(numbers, dict)
    return numbers[path[1]]


def test_an_approval_says_where_execution_looks_what_it_needs_and_that_books_and_broker_agreed() -> None:
    (decision,) = review(service(signal())).decisions

    legs = abs(decision.quantity_1) * 50 + abs(decision.quantity_2) * 25
    assert decision.approved
    assert legs <= Decimal(str(number(decision, NEEDED_BUYING_POWER))) < legs * 2
    assert number(decision, WAS_RECONCILED) is True


def test_an_entry_is_sized_approved_and_told() -> None:
    risk = service(signal())

    (decision,) = review(risk).decisions

    assert (decision.approved, decision.code) == (True, "APPROVED")
    assert (decision.quantity_1, decision.quantity_2) == (Decimal(20), Decimal(-40))
    (event,) = store(risk).events
    assert isinstance(event, TradeApproved)
    assert (event.aggregate_id, event.correlation_id) == (str(decision.id), "2026-11-18T17:30Z")


def test_closed_trades_with_an_edge_earn_half_kelly_up_to_the_leg_cap() -> None:
    risk = service(signal(), results={"AAA/BBB": closed_trades(12, 8)})

    (decision,) = review(risk).decisions

    assert decision.numbers["size"]["basis"] == "half_kelly"  # type: ignore[index]
    assert (decision.quantity_1, decision.quantity_2) == (Decimal(100), Decimal(-200))  # 10 % of 100,000


def test_a_leg_that_reports_denies_its_pair_alone_and_an_exit_passes() -> None:
    # Reported after yesterday's close: the first session after it is today.
    told = EarningsReport("BBB", date(2026, 11, 17), date(2026, 11, 17), is_estimate=False)
    risk = service(signal(), signal("CCC/DDD"), signal("EEE/BBB", EXIT), reports=[told])

    reviewed = review(risk)

    assert codes(reviewed) == {"AAA/BBB": "EARNINGS_RISK", "CCC/DDD": "APPROVED", "EEE/BBB": "APPROVED"}
    denied = next(each for each in reviewed.decisions if each.code == "EARNINGS_RISK")
    assert denied.reason == "BBB reports earnings on 2026-11-17; no entry within 1 session of it."
    assert denied.numbers["limits"]["earnings_sessions"] == "1"  # type: ignore[index]


def test_closed_trades_without_an_edge_deny() -> None:
    risk = service(signal(), results={"AAA/BBB": closed_trades(8, 12)})

    assert codes(review(risk)) == {"AAA/BBB": "NO_EDGE"}
    assert isinstance(store(risk).events[0], TradeDenied)


@pytest.mark.parametrize(
    ("then", "now", "code"),
    [
        (PairMode.OBSERVE, PairMode.OBSERVE, "PAIR_NOT_ACTIVE"),
        (PairMode.OBSERVE, PairMode.ACTIVE, "PAIR_NOT_ACTIVE"),
        (PairMode.ACTIVE, PairMode.CLOSING, "PAIR_NOT_ACTIVE"),
        (PairMode.ACTIVE, PairMode.ACTIVE, "APPROVED"),
    ],
)
def test_a_pair_must_be_active_at_the_signal_and_now(then: PairMode, now: PairMode, code: str) -> None:
    assert codes(review(service(replace(signal(), mode_then=then, mode_now=now)))) == {"AAA/BBB": code}


def test_a_second_review_returns_the_stored_decisions_and_asks_nobody() -> None:
    risk = service(signal(), signal("CCC/DDD", EXIT))
    first = review(risk)
    calls, events = len(broker(risk).calls), len(store(risk).events)

    second = review(risk)

    assert second == replace(first, already_done=True)
    assert (len(broker(risk).calls), len(store(risk).events)) == (calls, events)


def test_a_late_signal_sees_what_the_slot_approved_before_it() -> None:
    risk = service(signal())
    review(risk)
    store(risk).repo.asking.append(signal("DDD/AAA", z=5.0))

    assert codes(review(risk)) == {"AAA/BBB": "APPROVED", "DDD/AAA": "CORRELATION"}


def test_a_slot_without_signals_still_records_equity_and_asks_for_no_assets() -> None:
    risk = service()

    assert review(risk).decisions == ()
    assert store(risk).repo.points == {SLOT: Decimal(100_000)}
    assert broker(risk).calls == ["account", "cash_flows"]


def test_a_withdrawal_while_nothing_ran_is_no_loss() -> None:
    moved = NOW - timedelta(days=40)
    risk = service(signal(), equity="80000", points={moved - timedelta(days=2): Decimal(100_000)})
    broker(risk).flows.append(CashFlow("f", "CSW", Decimal(-20_000), moved, moved + timedelta(hours=12)))

    assert codes(review(risk)) == {"AAA/BBB": "APPROVED"}


def test_equity_counts_from_when_it_was_read_not_from_its_slot() -> None:
    """Between a reading at the slot and the slot's review half of the money leaves: that is one fall, not two."""
    before = Reading(SLOT + timedelta(seconds=5), Decimal(100_000), Decimal(0), Decimal(0), {})
    risk = service(equity="50000", points={SLOT - timedelta(minutes=15): Decimal(100_000)}, readings=[before])
    midnight = SLOT.replace(hour=5, minute=0)
    broker(risk).flows.append(CashFlow("f", "CSW", Decimal(-50_000), midnight, midnight + timedelta(days=1)))
    watch = PortfolioWatch(risk.store, risk.broker, CALENDAR, SEED)

    review(risk)
    later = watch.monitor(NOW + timedelta(minutes=15))

    assert later.portfolio.equity.drawdown == 0
    assert later.portfolio.standing.state is RiskState.ACTIVE


def test_a_slot_reviewed_on_the_next_day_makes_no_first_equity_of_its_own_day() -> None:
    yesterday = SLOT - timedelta(days=1)
    risk = service(equity="97500")

    risk.review_slot(yesterday, NOW, True, CLOSE, True)
    history = store(risk).repo.equity_history(
        EquityPoint(NOW, Decimal(97_000)), DayStart(SLOT.replace(hour=5, minute=0), CLOSE - timedelta(days=1))
    )

    assert store(risk).repo.points == {yesterday: Decimal(97_500)}
    assert history.day_start == 97_500


def test_exits_are_kept_even_if_the_broker_is_away() -> None:
    risk = service(signal(), signal("CCC/DDD", STOP))
    broker(risk).is_away = True

    with pytest.raises(Transient):
        review(risk)

    assert [(d.pair_id, d.approved) for d in store(risk).repo.stored] == [("CCC/DDD", True)]
    broker(risk).is_away = False
    assert codes(review(risk)) == {"AAA/BBB": "APPROVED", "CCC/DDD": "APPROVED"}


@given(
    state=st.sampled_from(RiskState),
    action=st.sampled_from([EXIT, STOP, SignalAction.EXPIRE]),
    mode=st.sampled_from(PairMode),
    is_open=st.booleans(),
    is_reconciled=st.booleans(),
    late=st.integers(-100, 100_000),
    equity=st.integers(1, 200_000),
)
@settings(deadline=None, max_examples=50)
def test_exits_pass_everything_but_a_halt(
    *,
    state: RiskState,
    action: SignalAction,
    mode: PairMode,
    is_open: bool,
    is_reconciled: bool,
    late: int,
    equity: int,
) -> None:
    risk = service(
        signal("CCC/DDD", action, mode=mode),
        equity=str(equity),
        state=standing(state),
        points={SLOT: Decimal(200_000)},
    )

    reviewed = risk.review_slot(SLOT, SLOT + timedelta(seconds=late), is_open, None, is_reconciled)

    assert [d.approved for d in reviewed.decisions] == [state is not RiskState.HALTED]
    assert [(d.quantity_1, d.quantity_2) for d in reviewed.decisions] == [(Decimal(0), Decimal(0))]


@given(st.permutations(range(len(ENTRY_PAIRS))), st.permutations([-2.9, -2.5, 2.2, 2.7, -2.5]))
@settings(deadline=None, max_examples=40)
def test_the_order_in_which_signals_come_changes_nothing(order: list[int], readings: list[float]) -> None:
    actions = {True: SignalAction.ENTER_SHORT, False: SignalAction.ENTER_LONG}
    signals = [signal(pair, actions[z > 0], z) for pair, z in zip(ENTRY_PAIRS, readings, strict=True)]

    shuffled = review(service(*(signals[i] for i in order)))

    assert shuffled.decisions == review(service(*signals)).decisions


def test_the_strongest_signal_goes_first_and_ties_go_by_name() -> None:
    rivals = signal("AAA/BBB", z=-2.4), signal("AAA/CCC", z=-2.4), signal("BBB/DDD", z=-2.9)

    assert codes(review(service(*rivals[:2]))) == {"AAA/BBB": "APPROVED", "AAA/CCC": "CORRELATION"}
    assert codes(review(service(*rivals))) == {
        "AAA/BBB": "CORRELATION",
        "AAA/CCC": "APPROVED",
        "BBB/DDD": "APPROVED",
    }


def test_a_held_symbol_without_a_price_stops_entries() -> None:
    held = OpenTrade("XXX/YYY", SLOT - timedelta(days=1), "XXX", "YYY", Decimal(10), Decimal(-10))

    (decision,) = review(service(signal(), trades=[held])).decisions

    assert decision.code == "DATA_STALE"
    assert "XXX, YYY" in decision.reason


@pytest.mark.parametrize("unusable", [None, nan, inf])
def test_without_a_usable_spread_there_is_no_entry_and_the_others_go_on(unusable: float | None) -> None:
    broken = replace(signal(), price_1=unusable, price_2=unusable, z=unusable)

    reviewed = review(service(broken, signal("CCC/DDD")))

    assert codes(reviewed) == {"AAA/BBB": "DATA_STALE", "CCC/DDD": "APPROVED"}
    json.dumps([dict(decision.numbers) for decision in reviewed.decisions], allow_nan=False)


def test_a_drawdown_denies_by_its_own_code_and_reduces_the_account() -> None:
    yesterday = SLOT - timedelta(days=1)
    risk = service(signal(), equity="95000", points={yesterday: Decimal(100_000)})

    assert codes(review(risk)) == {"AAA/BBB": "DRAWDOWN"}
    kept = store(risk)
    assert (kept.repo.state.state, kept.repo.state.who) == (RiskState.REDUCING, "risk")
    assert [note.numbers["peak"] for note in kept.repo.notes if note.what == STATE_CHANGED] == ["100000"]
    assert [type(event).__name__ for event in kept.events] == ["RiskStateChanged", "TradeDenied"]


def test_an_overnight_gap_denies_as_a_loss_of_the_day() -> None:
    risk = service(signal(), equity="96500")
    broker(risk).report = account("96500", last_equity="100000")

    assert codes(review(risk)) == {"AAA/BBB": "DAILY_LOSS"}


def test_after_a_breach_the_state_denies() -> None:
    risk = service(signal(), state=standing(RiskState.REDUCING))

    (decision,) = review(risk).decisions

    assert decision.code == "RISK_STATE"
    assert "ann" in decision.reason


def test_a_person_sets_the_state_with_a_trace() -> None:
    risk = service()

    halted = risk.set_state(RiskState.HALTED, "ann", "fire drill", NOW)
    again = risk.set_state(RiskState.HALTED, "bob", "same", NOW)
    active = risk.set_state(RiskState.ACTIVE, "ann", "over", NOW)

    assert (halted.state, again.who, active.version) == (RiskState.HALTED, "ann", 2)
    assert [note.what for note in store(risk).repo.notes][-1] == PEAK_RESET
    assert [event.aggregate_version for event in store(risk).events] == [1, 2]
    assert risk.standing().state is RiskState.ACTIVE


def test_saying_active_while_active_only_starts_a_new_peak() -> None:
    risk = service()

    risk.set_state(RiskState.ACTIVE, "ann", "withdrew $5,000", NOW)

    assert [note.what for note in store(risk).repo.notes] == [PEAK_RESET]
    assert store(risk).events == []


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("ann", " "), ("risk", "x")])
def test_a_state_needs_a_person_and_a_reason(who: str, why: str) -> None:
    with pytest.raises(InputInvalid):
        service().set_state(RiskState.HALTED, who, why, NOW)
