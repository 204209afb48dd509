"""The table of the two-leg machine, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.two_leg import (
    Book,
    Cancel,
    ClearWay,
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
    booking_step,
    next_step,
    second_quantity,
)
from src.shared.domain.orders import OrderAction, OrderIntent, OrderState
from src.shared.domain.pairs import PairTradeState
from tests.unit.execution.examples import NOW, RULES, SLOT, intent, report, situation, trade

CLOSE, UNWIND, OPEN = OrderAction.CLOSE, OrderAction.UNWIND, OrderAction.OPEN
S, T = OrderState, PairTradeState
NEXT_SLOT = SLOT + timedelta(hours=1)
LATE = NOW + timedelta(seconds=61)

SHORT = intent(2, -8)
LONG = intent(1, 10)
SHORT_BACK = intent(2, 8, action=UNWIND)


def step(s: Situation) -> Step:
    return next_step(s, RULES)


def moved_to(s: Situation) -> PairTradeState | None:
    found = step(s)
    return found.state if isinstance(found, Move) else None


@pytest.mark.parametrize("state", list(PairTradeState))
@pytest.mark.parametrize("unsettled", [S.SENDING, S.UNKNOWN])
def test_an_order_nobody_knows_of_is_resolved_before_anything_else(
    state: PairTradeState, unsettled: OrderState
) -> None:
    lost = intent(1, 10, unsettled)

    assert step(situation(trade(state), SHORT, lost, market_open=False)) == Resolve(lost)


@pytest.mark.parametrize(
    ("planned", "changes", "sent"),
    [
        (intent(2, -8, S.PLANNED), {}, True),
        (intent(2, -8, S.PLANNED), {"slot": NEXT_SLOT}, False),
        (intent(2, -8, S.PLANNED), {"market_open": False}, False),
    ],
)
def test_a_planned_entry_is_sent_while_its_reason_lasts(
    planned: OrderIntent, changes: dict[str, object], sent: bool
) -> None:
    assert step(situation(trade(), planned, **changes)) == (Send(planned) if sent else GiveUp(planned))


PLANNED_BACK = intent(2, 8, S.PLANNED, action=UNWIND)
AT_WORK = report(intent(2, 8, S.WORKING, action=CLOSE, attempt=7), "new")


def back(around: Around | None, *intents: OrderIntent, **changes: object) -> Situation:
    """The short leg of eight is to be bought back by an order that was planned in a pass before this one."""
    seen = None if around is None else {"AAA": Around(Decimal(0), Decimal(0)), "BBB": around}
    held = intents or (SHORT,)
    return situation(trade(T.UNWINDING), *held, PLANNED_BACK, around=seen, slot=NEXT_SLOT, **changes)


def test_a_planned_exit_is_sent_after_a_look_while_what_it_closes_is_there() -> None:
    assert step(back(None)) == LookAround()
    assert step(back(Around(Decimal(-8), Decimal(-8)))) == Send(PLANNED_BACK)
    assert step(back(Around(Decimal(-8), Decimal(-9)))) == Send(PLANNED_BACK)
    assert step(back(None, market_open=False)) == GiveUp(PLANNED_BACK)


@pytest.mark.parametrize(
    ("around", "intents"),
    [
        (Around(Decimal(0), Decimal(0)), (SHORT, intent(2, 8, action=CLOSE))),
        (Around(Decimal(-5), Decimal(-5)), (SHORT, intent(2, 3, action=CLOSE))),
        (Around(Decimal(-8), Decimal(0)), (SHORT,)),
        (Around(Decimal(-8), Decimal(-3)), (SHORT,)),
        (Around(Decimal(-8), Decimal(-8), own_orders=(AT_WORK,)), (SHORT,)),
        (Around(Decimal(-8), Decimal(-8), others_orders=(AT_WORK,)), (SHORT,)),
        (Around(Decimal(-8), Decimal(-8), others_orders=(replace(AT_WORK, quantity=Decimal(-1)),)), (SHORT,)),
    ],
    ids=[
        "it was closed since",
        "a part was closed since",
        "somebody bought it back",
        "somebody bought a part back",
        "an order of ours reserves it",
        "an order of somebody else reserves it",
        "an order of somebody else stands against it",
    ],
)
def test_a_planned_exit_is_given_up_when_what_it_closes_is_not_there_and_free(
    around: Around, intents: tuple[OrderIntent, ...]
) -> None:
    assert step(back(around, *intents)) == GiveUp(PLANNED_BACK)


UNSEEN = intent(1, -10, S.UNKNOWN, action=CLOSE)
BACK = intent(2, 8, S.WORKING, action=CLOSE)


@pytest.mark.parametrize(
    ("beside", "changes", "expected"),
    [
        ((), {}, Place(2, CLOSE, Decimal(8), 1)),
        ((), {"around": None}, LookAround()),
        ((), {"market_open": False}, Resolve(UNSEEN)),
        ((BACK,), {}, Wait((BACK,))),
        ((BACK,), {"now": LATE}, Cancel(BACK)),
        ((BACK,), {"now": LATE, "cancelling": frozenset({BACK.client_order_id})}, Resolve(UNSEEN)),
        ((intent(2, 8, S.UNKNOWN, action=CLOSE),), {}, Resolve(UNSEEN)),
        ((intent(2, 8, action=CLOSE),), {}, Resolve(UNSEEN)),
        (tuple(intent(2, 8, S.REJECTED, action=CLOSE, attempt=n) for n in (1, 2, 3)), {}, Resolve(UNSEEN)),
    ],
)
def test_the_other_leg_is_closed_beside_an_exit_that_nobody_knows_of(
    beside: tuple[OrderIntent, ...], changes: dict[str, object], expected: Step
) -> None:
    assert step(situation(trade(T.CLOSING), LONG, SHORT, UNSEEN, *beside, **changes)) == expected


def test_an_order_past_its_deadline_is_cancelled_once_and_then_waited_for() -> None:
    slow = intent(2, -8, S.WORKING)

    assert step(situation(trade(), slow)) == Wait((slow,))
    assert step(situation(trade(), slow, now=LATE)) == Cancel(slow)
    assert step(situation(trade(), slow, now=LATE, cancelling=frozenset({slow.client_order_id}))) == Wait((slow,))


@pytest.mark.parametrize("state", [state for state in T if state is not T.ORPHANED])
def test_a_trade_is_whole_or_over_only_when_its_fills_are_booked(state: PairTradeState) -> None:
    filled = (SHORT, LONG) if state in (T.OPENING, T.OPEN) else (SHORT, SHORT_BACK)

    assert step(situation(trade(state), *filled, booked={})) == Book(filled)


def test_the_second_leg_does_not_wait_for_the_books_of_the_first() -> None:
    assert step(situation(trade(), SHORT, booked={})) == Place(1, OPEN, LONG.quantity, 1)


def test_a_leg_is_got_rid_of_before_its_fill_is_booked() -> None:
    assert step(situation(trade(T.UNWINDING), SHORT, booked={})) == Place(2, UNWIND, Decimal(8), 1)


def test_a_working_order_is_booked_up_to_what_it_reports_and_may_be_booked_further() -> None:
    half = intent(2, -8, S.PARTIALLY_FILLED, filled=-4)

    assert booking_step(situation(trade(), half, booked={})) == Book((half,))
    assert booking_step(situation(trade(), half, booked={str(half.id): Decimal(-6)})) is None
    assert step(situation(trade(), half, booked={})) == Wait((half,))


# Opening


def test_the_short_leg_goes_first() -> None:
    assert step(situation(trade())) == Place(2, OPEN, Decimal(-8), 1)
    other_way = trade(target_1=Decimal(-10), target_2=Decimal(8))
    assert step(situation(other_way)) == Place(1, OPEN, Decimal(-10), 1)


def test_no_first_leg_is_sent_where_entries_are_not_allowed() -> None:
    assert step(situation(trade(), may_enter=False)) == Rest()


def test_a_first_leg_that_is_planned_already_waits_until_entries_are_allowed_or_its_moment_passed() -> None:
    planned = intent(2, -8, S.PLANNED)

    assert step(situation(trade(), planned, may_enter=False)) == Rest()
    assert step(situation(trade(), planned, may_enter=True)) == Send(planned)
    assert step(situation(trade(), planned, may_enter=False, slot=NEXT_SLOT)) == GiveUp(planned)


def test_a_second_leg_and_an_exit_wait_for_nobody_who_allows_entries() -> None:
    second, unwind = intent(1, 10, S.PLANNED), intent(2, 8, S.PLANNED, action=UNWIND)

    assert step(situation(trade(), SHORT, second, may_enter=False)) == Send(second)
    assert step(situation(trade(T.UNWINDING), SHORT, unwind, may_enter=False)) == Send(unwind)


@pytest.mark.parametrize("changes", [{"slot": NEXT_SLOT}, {"market_open": False}])
def test_an_entry_whose_moment_passed_is_abandoned_before_and_unwound_after_its_first_leg(
    changes: dict[str, object],
) -> None:
    assert moved_to(situation(trade(), **changes)) is T.ABANDONED
    assert moved_to(situation(trade(), SHORT, **changes)) is T.UNWINDING


@pytest.mark.parametrize("ended", [S.REJECTED, S.CANCELED, S.EXPIRED])
def test_a_first_leg_without_a_fill_abandons_and_a_second_one_unwinds(ended: OrderState) -> None:
    assert moved_to(situation(trade(), intent(2, -8, ended))) is T.ABANDONED
    assert moved_to(situation(trade(), SHORT, intent(1, 10, ended))) is T.UNWINDING


@pytest.mark.parametrize(("filled", "second"), [(-8, 10), (-4, 5), (-3, 4), (-1, 1)])
def test_the_second_leg_is_sized_from_what_the_first_filled(filled: int, second: int) -> None:
    first = intent(2, -8, S.CANCELED if filled > -8 else S.FILLED, filled=filled)

    assert step(situation(trade(), first)) == Place(1, OPEN, Decimal(second), 1)


def test_a_first_leg_too_small_to_hedge_in_whole_shares_is_unwound() -> None:
    lopsided = trade(target_1=Decimal(1), target_2=Decimal(-8))

    assert second_quantity(lopsided, Decimal(-3)) == 0
    assert moved_to(situation(lopsided, intent(2, -8, S.CANCELED, filled=-3))) is T.UNWINDING


def test_both_legs_filled_is_open() -> None:
    assert moved_to(situation(trade(), SHORT, LONG)) is T.OPEN


def test_the_leg_that_has_more_gives_the_excess_back_once() -> None:
    half = intent(1, 10, S.CANCELED, filled=5)
    back = intent(2, 4, action=UNWIND)
    refused = intent(2, 4, S.REJECTED, action=UNWIND)

    assert step(situation(trade(), SHORT, half)) == Place(2, UNWIND, Decimal(4), 1)
    assert moved_to(situation(trade(), SHORT, half, back)) is T.OPEN
    assert moved_to(situation(trade(), SHORT, half, refused)) is T.UNWINDING
    assert moved_to(situation(trade(), SHORT, half, market_open=False)) is T.UNWINDING


def test_an_entry_that_was_given_back_whole_is_unwound() -> None:
    back = intent(2, 8, action=UNWIND)

    assert moved_to(situation(trade(), SHORT, back)) is T.UNWINDING


# Open, and getting flat


def test_an_open_trade_rests_until_a_late_fill_breaks_its_hedge() -> None:
    half = intent(1, 10, S.CANCELED, filled=5)
    less = intent(2, -8, S.CANCELED, filled=-4)

    assert step(situation(trade(T.OPEN), SHORT, LONG)) == Rest()
    assert step(situation(trade(T.OPEN), less, half)) == Rest()
    assert moved_to(situation(trade(T.OPEN), SHORT, half)) is T.CLOSING


@pytest.mark.parametrize(("state", "action"), [(T.CLOSING, CLOSE), (T.UNWINDING, UNWIND)])
def test_what_is_held_is_given_back_leg_by_leg_without_waiting_between(
    state: PairTradeState, action: OrderAction
) -> None:
    first = intent(1, -10, S.WORKING, action=action)
    second = intent(2, 8, S.WORKING, action=action)

    assert step(situation(trade(state), SHORT, LONG)) == Place(1, action, Decimal(-10), 1)
    assert step(situation(trade(state), SHORT, LONG, first)) == Place(2, action, Decimal(8), 1)
    assert step(situation(trade(state), SHORT, LONG, first, second)) == Wait((first, second))


def test_a_close_that_filled_by_half_is_followed_by_one_for_the_rest() -> None:
    half = intent(1, -10, S.CANCELED, filled=-6, action=CLOSE)

    assert step(situation(trade(T.CLOSING), SHORT, LONG, half)) == Place(1, CLOSE, Decimal(-4), 2)


def test_a_leg_refused_too_often_is_orphaned_and_tried_again_in_the_next_slot() -> None:
    refused = [intent(1, -10, S.REJECTED, action=CLOSE, attempt=n) for n in (1, 2, 3)]
    orders = [SHORT, LONG, *refused]

    assert moved_to(situation(trade(T.CLOSING), *orders)) is T.ORPHANED
    assert step(situation(trade(T.ORPHANED), *orders)) == Rest()
    assert step(situation(trade(T.ORPHANED), *orders, slot=NEXT_SLOT, market_open=False)) == Rest()
    assert moved_to(situation(trade(T.ORPHANED), *orders, slot=NEXT_SLOT)) is T.CLOSING
    assert step(situation(trade(T.CLOSING), *orders, slot=NEXT_SLOT)) == Place(1, CLOSE, Decimal(-10), 4)


def test_a_leg_of_a_failed_entry_that_is_orphaned_is_unwound_again() -> None:
    refused = [intent(2, 8, S.REJECTED, action=UNWIND, attempt=n) for n in (1, 2, 3)]

    assert moved_to(situation(trade(T.UNWINDING), SHORT, *refused)) is T.ORPHANED
    assert moved_to(situation(trade(T.ORPHANED), SHORT, *refused, slot=NEXT_SLOT)) is T.UNWINDING


def test_a_close_that_was_orphaned_before_it_had_an_order_is_closed_again() -> None:
    begun = replace(trade(T.ORPHANED), closed_slot=NEXT_SLOT)

    assert moved_to(situation(begun, SHORT, LONG, slot=NEXT_SLOT)) is T.CLOSING
    assert moved_to(situation(replace(begun, reopened=True), SHORT, LONG, slot=NEXT_SLOT)) is T.UNWINDING


@pytest.mark.parametrize("state", [T.CLOSING, T.UNWINDING])
def test_nothing_is_sent_to_a_closed_market_and_what_is_held_stays_under_management(state: PairTradeState) -> None:
    assert step(situation(trade(state), SHORT, LONG, market_open=False)) == Rest()


@pytest.mark.parametrize(("state", "end"), [(T.CLOSING, T.CLOSED), (T.UNWINDING, T.UNWOUND)])
def test_with_nothing_held_the_trade_is_over(state: PairTradeState, end: PairTradeState) -> None:
    assert moved_to(situation(trade(state), market_open=False)) is end


@pytest.mark.parametrize("state", [T.CLOSED, T.UNWOUND, T.ABANDONED])
def test_a_finished_trade_rests_unless_a_late_fill_left_something(state: PairTradeState) -> None:
    flat = intent(2, 8, action=UNWIND)
    late = intent(1, 10, S.CANCELED, filled=3)

    assert step(situation(trade(state), SHORT, flat)) == Rest()
    assert moved_to(situation(trade(state), SHORT, flat, late)) is T.ORPHANED


# What is around an exit


def around(ours: int, theirs: int, **orders: object) -> Around:
    return replace(Around(Decimal(ours), Decimal(theirs)), **orders)  # type: ignore[arg-type]


HERS = replace(AT_WORK, client_order_id="by-hand", quantity=Decimal(-2))
OURS_AGAINST = replace(AT_WORK, quantity=Decimal(-2))
CLEAR = {"AAA": around(10, 10), "BBB": around(-8, -8)}


@pytest.mark.parametrize(
    ("of_the_short_leg", "expected"),
    [
        (around(-8, -8), Place(1, CLOSE, Decimal(-10), 1)),
        (around(-8, -8, own_orders=(OURS_AGAINST,)), ClearWay((OURS_AGAINST,))),
        (
            around(-8, -8, own_orders=(OURS_AGAINST,), others_orders=(HERS,)),
            Hold("an order that is not ours works on the other side: by-hand"),
        ),
        (
            around(-8, -8, others_orders=(replace(HERS, quantity=Decimal(8)),)),
            Hold("all shares of BBB are held for other orders"),
        ),
        (around(-8, -3), Place(1, CLOSE, Decimal(-10), 1)),
        (around(-8, 0), Place(1, CLOSE, Decimal(-10), 1)),
    ],
    ids=["nothing", "our order", "somebody's order", "somebody's reservation", "some are gone", "all are gone"],
)
def test_what_stands_in_the_way_of_one_leg_keeps_the_other_its_hedge(
    of_the_short_leg: Around, expected: Step
) -> None:
    seen = CLEAR | {"BBB": of_the_short_leg}

    assert step(situation(trade(T.CLOSING), SHORT, LONG, around=seen)) == expected
    assert step(situation(trade(T.CLOSING), SHORT, LONG, around=None)) == LookAround()


def test_of_a_leg_that_is_there_in_part_that_part_is_closed_and_what_is_gone_orphans() -> None:
    closed = intent(1, -10, action=CLOSE)
    seen = CLEAR | {"BBB": around(-8, -3)}

    assert step(situation(trade(T.CLOSING), SHORT, LONG, closed, around=seen)) == Place(2, CLOSE, Decimal(3), 1)
    some = intent(2, 3, action=CLOSE)
    nothing_there = CLEAR | {"BBB": around(-5, 0)}
    found = step(situation(trade(T.CLOSING), SHORT, LONG, closed, some, around=nothing_there))
    assert found == Move(T.ORPHANED, "BBB: the books hold -5, the broker 0")


def test_too_many_attempts_orphan_without_a_look_and_a_closed_market_comes_before_them() -> None:
    refused = [intent(1, -10, S.REJECTED, action=CLOSE, attempt=n) for n in (1, 2, 3)]

    assert moved_to(situation(trade(T.CLOSING), SHORT, LONG, *refused, around=None)) is T.ORPHANED
    assert step(situation(trade(T.CLOSING), SHORT, LONG, *refused, market_open=False)) == Rest()


def test_an_orphan_is_looked_around_for_and_held_while_nothing_of_it_is_there() -> None:
    orphan = trade(T.ORPHANED)
    gone = {"AAA": around(10, 0), "BBB": around(-8, 0)}

    assert step(situation(orphan, SHORT, LONG, slot=NEXT_SLOT, around=None)) == LookAround()
    held = step(situation(orphan, SHORT, LONG, slot=NEXT_SLOT, around=gone))
    assert held == Hold("AAA: the books hold 10, the broker 0; BBB: the books hold -8, the broker 0")
    assert (
        moved_to(situation(orphan, SHORT, LONG, slot=NEXT_SLOT, around=gone | {"AAA": around(10, 10)})) is T.UNWINDING
    )


def test_an_excess_is_given_back_after_a_look() -> None:
    half = intent(1, 10, S.CANCELED, filled=5)

    assert step(situation(trade(), SHORT, half, around=None)) == LookAround()


# An entry that comes too late, or that nobody wants any more


def test_no_first_leg_is_sent_when_the_market_closes_too_soon_for_both() -> None:
    planned, second = intent(2, -8, S.PLANNED), intent(1, 10, S.PLANNED)

    found = step(situation(trade(), too_late=True))
    assert found == Move(T.ABANDONED, "the market closes too soon for both legs")
    assert step(situation(trade(), planned, too_late=True)) == GiveUp(planned)
    assert step(situation(trade(), SHORT, second, too_late=True)) == Send(second)


@pytest.mark.parametrize("state", [T.CLOSING, T.UNWINDING, T.ABANDONED])
def test_an_order_that_would_open_a_trade_that_was_given_up_is_taken_back(state: PairTradeState) -> None:
    planned, working = intent(2, -8, S.PLANNED), intent(2, -8, S.WORKING)

    assert step(situation(trade(state), planned)) == GiveUp(planned)
    assert step(situation(trade(state), working)) == Cancel(working)
