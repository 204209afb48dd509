"""The machine's table for a trade in one symbol, where it differs from that of a pair, and what stays the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.precheck import Surroundings, objection
from src.services.execution.domain.two_leg import (
    Cancel,
    GiveUp,
    Hold,
    LookAround,
    Move,
    Place,
    Resolve,
    Rest,
    Send,
    Situation,
    Step,
    Wait,
    ends_exposure,
    hangs,
    next_step,
)
from src.shared.domain.orders import AssetReport, OrderAction, OrderState
from src.shared.domain.pairs import PairTrade, PairTradeState
from src.shared.domain.risk import RiskState
from tests.unit.execution.examples import NOW, RULES, SLOT, intent, report, single, situation

CLOSE, UNWIND, OPEN = OrderAction.CLOSE, OrderAction.UNWIND, OrderAction.OPEN
S, T = OrderState, PairTradeState
NEXT_SLOT = SLOT + timedelta(hours=1)
LATE = NOW + timedelta(seconds=61)
SHORT = single(target_1=Decimal(-10))


def step(s: Situation) -> Step:
    return next_step(s, RULES)


@pytest.mark.parametrize(("trade", "quantity"), [(single(), 10), (SHORT, -10)])
def test_the_only_leg_is_placed_at_once_on_either_side(trade: PairTrade, quantity: int) -> None:
    assert step(situation(trade)) == Place(1, OPEN, Decimal(quantity), 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"may_enter": False}, Rest()),
        ({"slot": NEXT_SLOT}, Move(T.ABANDONED, "its moment passed before an order was sent")),
        ({"risk": RiskState.REDUCING}, Move(T.ABANDONED, "the account was reducing before an order was sent")),
        ({"too_late": True}, Move(T.ABANDONED, "the market closes too soon for the order")),
    ],
)
def test_an_entry_waits_or_is_abandoned_as_that_of_a_pair(changes: dict[str, object], expected: Step) -> None:
    assert step(situation(single(), **changes)) == expected


def test_a_planned_entry_is_sent_in_its_hour_and_given_up_after_it() -> None:
    planned = intent(1, 10, S.PLANNED)

    assert step(situation(single(), planned)) == Send(planned)
    assert step(situation(single(), planned, slot=NEXT_SLOT)) == GiveUp(planned)
    assert step(situation(single(), planned, too_late=True)) == GiveUp(planned)


def test_an_unknown_order_is_resolved_and_a_slow_one_cancelled_once() -> None:
    lost, slow = intent(1, 10, S.UNKNOWN), intent(1, 10, S.WORKING)

    assert step(situation(single(), lost)) == Resolve(lost)
    assert step(situation(single(), slow)) == Wait((slow,))
    assert step(situation(single(), slow, now=LATE)) == Cancel(slow)
    assert step(situation(single(), slow, now=LATE, cancelling=frozenset({slow.client_order_id}))) == Wait((slow,))


@pytest.mark.parametrize("filled", [10, 4, 1])
def test_whatever_was_filled_is_whole(filled: int) -> None:
    done = intent(1, 10, S.FILLED if filled == 10 else S.CANCELED, filled)

    assert step(situation(single(), done)) == Move(T.OPEN, "filled")
    assert step(situation(single(T.OPEN), done)) == Rest()


@pytest.mark.parametrize("state", [S.REJECTED, S.CANCELED, S.EXPIRED])
def test_an_entry_without_a_fill_is_abandoned(state: OrderState) -> None:
    found = step(situation(single(), intent(1, 10, state)))

    assert isinstance(found, Move)
    assert found.state is T.ABANDONED


def test_an_entry_that_filled_before_the_account_was_stopped_is_kept() -> None:
    assert step(situation(single(), intent(1, 10), risk=RiskState.REDUCING)) == Move(T.OPEN, "filled")


@pytest.mark.parametrize("risk", list(RiskState))
def test_it_never_hangs_for_there_is_nothing_to_hedge_it(risk: RiskState) -> None:
    assert not hangs(situation(single(T.CLOSING), intent(1, 10), risk=risk), RULES)


def test_an_open_trade_of_which_everything_was_written_off_is_closed() -> None:
    gone = situation(single(T.OPEN), intent(1, 10), adjusted={1: Decimal(-10)})

    assert step(gone) == Move(T.CLOSING, "nothing is held")
    assert step(replace(gone, trade=single(T.CLOSING, close_reason="exit"))) == Move(T.CLOSED, "exit")


def test_its_exit_gives_back_what_it_holds_and_no_more() -> None:
    held = situation(single(T.CLOSING), intent(1, 10, S.CANCELED, 6))

    assert step(replace(held, around=None)) == LookAround()
    assert step(held) == Place(1, CLOSE, Decimal(-6), 1)
    assert step(replace(held, market_open=False)) == Rest()
    assert step(replace(held, risk=RiskState.HALTED)) == Rest()
    assert step(situation(single(T.UNWINDING), intent(1, 10))) == Place(1, UNWIND, Decimal(-10), 1)


def test_somebody_elses_order_on_the_other_side_holds_its_exit() -> None:
    theirs = report(intent(1, 5, S.WORKING, attempt=99), "new")
    around = {"AAA": Around(Decimal(10), Decimal(10), (), (theirs,))}

    assert isinstance(step(situation(single(T.CLOSING), intent(1, 10), around=around)), Hold)


def test_an_exit_that_fails_too_often_leaves_an_orphan_that_is_tried_again_in_the_next_slot() -> None:
    tries = [intent(1, -10, S.REJECTED, action=CLOSE, attempt=n) for n in (1, 2, 3)]
    held = situation(single(T.CLOSING, closed_slot=SLOT), intent(1, 10), *tries)
    orphan = replace(held, trade=single(T.ORPHANED, closed_slot=SLOT))

    found = step(held)
    assert isinstance(found, Move)
    assert found.state is T.ORPHANED
    assert step(orphan) == Rest()
    assert step(replace(orphan, slot=NEXT_SLOT)) == Move(T.CLOSING, "another attempt to get flat")


@pytest.mark.parametrize("state", [T.CLOSED, T.UNWOUND, T.ABANDONED])
def test_a_fill_after_the_end_makes_an_orphan(state: PairTradeState) -> None:
    assert step(situation(single(state), intent(1, 10, S.CANCELED, 2))) == Move(
        T.ORPHANED, "filled after the end: 2 AAA"
    )


def test_only_its_exits_end_exposure() -> None:
    assert not ends_exposure(intent(1, 10), single())
    assert not ends_exposure(intent(1, -10), SHORT)
    assert ends_exposure(intent(1, -10, action=CLOSE), single())


@pytest.mark.parametrize(
    ("trade", "changes", "said"),
    [
        (single(), {}, None),
        (single(), {"assets": {}}, "AAA is not tradable"),
        (SHORT, {}, "AAA can't be sold short"),
        (single(target_1=Decimal("1.5")), {}, "1.5 of AAA is not a whole number of shares"),
        (single(), {"external": {"AAA": Decimal(1)}}, "AAA is held outside of Tradewinds"),
        (single(), {"working": frozenset({"AAA"})}, "an order in AAA is open"),
        (single(), {"ours": {"AAA": Decimal(-3)}}, "another pair holds AAA on the other side"),
    ],
)
def test_the_look_before_the_order_is_at_the_one_symbol(
    trade: PairTrade, changes: dict[str, object], said: str | None
) -> None:
    asset = AssetReport("AAA", "Triple A", "ARCA", tradable=True, shortable=False, easy_to_borrow=False)
    plain = Surroundings({"AAA": asset}, {}, {}, frozenset(), Decimal(0))

    assert objection(trade, Decimal(0), replace(plain, **changes)) == said  # type: ignore[arg-type]
