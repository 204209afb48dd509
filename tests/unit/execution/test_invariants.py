"""Each invariant finds the breach that it is there for, and only that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from src.services.execution.domain.invariants import Facts, RiskChanged, Sent, check, check_books
from src.shared.domain.orders import FillReport, OrderAction, OrderState, PositionReport
from src.shared.domain.pairs import PairTradeState
from src.shared.domain.risk import RiskState
from tests.unit.execution.examples import SLOT, intent, report, trade

LONG, SHORT = intent(1, 10, version=2), intent(2, -8, version=2)
OPEN = trade(PairTradeState.OPEN, version=2)
ORDER, TRADE = ("order_intent", str(LONG.id)), ("pair_trade", str(OPEN.id))
TEN, EIGHT = Decimal(10), Decimal(-8)

WHOLE = Facts(
    intents=(LONG, SHORT),
    trades=(OPEN,),
    filled={LONG.id: TEN, SHORT.id: EIGHT},
    held={"AAA": TEN, "BBB": EIGHT},
    ledger_shares={"AAA": TEN, "BBB": EIGHT},
    leg_shares={(OPEN.id, "AAA"): TEN, (OPEN.id, "BBB"): EIGHT},
    unbalanced=(),
    ledger_entries=2,
    versions={ORDER: 2, TRADE: 2},
    told={ORDER: (1, 2), TRADE: (2, 1)},
    paged={},
    approved={("AAA/BBB", SLOT): (TEN, EIGHT)},
    cash={OPEN.id: Decimal(-200)},
    broker_orders=(report(LONG, "filled"), report(SHORT, "filled")),
    broker_positions=(PositionReport("AAA", TEN, TEN), PositionReport("BBB", EIGHT, TEN)),
    since=SLOT - timedelta(days=1),
)


def broken(facts: Facts) -> list[str]:
    return [each.name for each in check(facts, Decimal("0.05")) if not each.holds]


def one_leg(state: PairTradeState) -> Facts:
    """The long leg is gone everywhere, as if it had never been bought."""
    return replace(
        WHOLE,
        intents=(SHORT,),
        trades=(replace(OPEN, state=state, realized_pnl=Decimal(800)),),
        cash={OPEN.id: Decimal(800)},
        filled={SHORT.id: EIGHT},
        held={"BBB": EIGHT},
        ledger_shares={"BBB": EIGHT},
        leg_shares={(OPEN.id, "BBB"): EIGHT},
        broker_orders=(report(SHORT, "filled"),),
        broker_positions=(PositionReport("BBB", EIGHT, TEN),),
    )


def test_books_that_agree_break_nothing() -> None:
    assert broken(WHOLE) == []
    assert [each.name for each in check(WHOLE, Decimal("0.05"))] == [f"I{n}" for n in range(1, 8)]


def test_what_somebody_else_holds_where_we_hold_nothing_any_more_breaks_nothing() -> None:
    foreign = PositionReport("CCC", Decimal(7), TEN)
    facts = replace(
        WHOLE,
        held={**WHOLE.held, "CCC": Decimal("0E-9")},
        ledger_shares={**WHOLE.ledger_shares, "CCC": Decimal("0E-9")},
        broker_positions=(*WHOLE.broker_positions, foreign),
    )

    assert broken(facts) == []


SECOND_ORDER = report(LONG, "canceled", 10, broker_order_id="b-2")
STRAY = report(intent(1, 3, attempt=9), "canceled")

HALT = RiskChanged(RiskState.ACTIVE, RiskState.HALTED)
SOLD_BY_HAND = (PositionReport("AAA", Decimal(6), TEN), PositionReport("BBB", EIGHT, TEN))


def by_hand(quantity: int) -> FillReport:
    return FillReport("f-hand", "b-hand", "AAA", Decimal(quantity), TEN, SLOT)


def approved(first: int, second: int) -> Facts:
    return replace(WHOLE, approved={("AAA/BBB", SLOT): (Decimal(first), Decimal(second))})


def closed(realized_pnl: Decimal) -> Facts:
    """The trade is over, and nothing is held."""
    sold = (
        intent(1, -10, action=OrderAction.CLOSE, version=2),
        intent(2, 8, action=OrderAction.CLOSE, version=2),
    )
    return replace(
        WHOLE,
        intents=(*WHOLE.intents, *sold),
        trades=(replace(OPEN, state=PairTradeState.CLOSED, realized_pnl=realized_pnl),),
        filled={**WHOLE.filled, **{each.id: each.filled_quantity for each in sold}},
        held={},
        ledger_shares={},
        leg_shares={},
        cash={OPEN.id: Decimal("12.5")},
        broker_orders=(*WHOLE.broker_orders, *(report(each, "filled") for each in sold)),
        broker_positions=(),
    )


BREACHES: dict[str, tuple[str, Callable[[], Facts]]] = {
    "an order doubled at the broker": (
        "I1",
        lambda: replace(WHOLE, broker_orders=(*WHOLE.broker_orders, SECOND_ORDER)),
    ),
    "another order than the one booked": (
        "I1",
        lambda: replace(WHOLE, broker_orders=(SECOND_ORDER, WHOLE.broker_orders[1])),
    ),
    "a stray order": ("I2", lambda: replace(WHOLE, broker_orders=(*WHOLE.broker_orders, STRAY))),
    "an order said to be unsent": (
        "I2",
        lambda: replace(
            WHOLE,
            intents=(*WHOLE.intents, intent(1, 3, OrderState.PLANNED, attempt=9)),
            broker_orders=(*WHOLE.broker_orders, STRAY),
        ),
    ),
    "a fill that is not booked": ("I3", lambda: replace(WHOLE, filled={LONG.id: TEN})),
    "a ledger that lacks shares": ("I3", lambda: replace(WHOLE, ledger_shares={"AAA": TEN})),
    "a broker that holds less": ("I3", lambda: replace(WHOLE, broker_positions=WHOLE.broker_positions[:1])),
    "a broker that filled more": (
        "I3",
        lambda: replace(WHOLE, broker_orders=(report(LONG, "filled", 11), WHOLE.broker_orders[1])),
    ),
    "an entry of the ledger that does not sum to zero": ("I4", lambda: replace(WHOLE, unbalanced=("USD 0.01",))),
    "a lost leg of an open trade": ("I5", lambda: one_leg(PairTradeState.OPEN)),
    "a leg that hangs while opening": ("I5", lambda: one_leg(PairTradeState.OPENING)),
    "a finished trade that holds": ("I5", lambda: one_leg(PairTradeState.UNWOUND)),
    "an orphan that nobody was told of": ("I5", lambda: one_leg(PairTradeState.ORPHANED)),
    "a change that was not told": ("I6", lambda: replace(WHOLE, told={ORDER: (1, 2), TRADE: (2,)})),
    "a change that was told twice": ("I6", lambda: replace(WHOLE, told={ORDER: (1, 2, 2), TRADE: (1, 2)})),
    "an event of nothing": ("I6", lambda: replace(WHOLE, told={**WHOLE.told, ("pair_trade", "x"): (1,)})),
    "an entry that was sent while the account was halted": (
        "I7",
        lambda: replace(WHOLE, log=(Sent(SHORT.client_order_id), HALT, Sent(LONG.client_order_id))),
    ),
    "an entry that was sent while the account was reducing": (
        "I7",
        lambda: replace(WHOLE, log=(RiskChanged(RiskState.ACTIVE, RiskState.REDUCING), Sent(LONG.client_order_id))),
    ),
    "an order sent before the first change of a state that was no other": (
        "I7",
        lambda: replace(WHOLE, log=(Sent(LONG.client_order_id), RiskChanged(RiskState.HALTED, RiskState.ACTIVE))),
    ),
    "shares that somebody else's executions explain but in part": (
        "I3",
        lambda: replace(WHOLE, broker_positions=SOLD_BY_HAND, broker_fills=(by_hand(-3),)),
    ),
    "an entry without approval": ("I7", lambda: replace(WHOLE, approved={})),
    "an entry of more shares than were approved": ("I7", lambda: approved(9, -8)),
    "an entry on the other side": ("I7", lambda: approved(-10, 8)),
    "an entry where an exit was approved": ("I7", lambda: approved(0, 0)),
    "an entry that was sent the day after": (
        "I7",
        lambda: replace(WHOLE, intents=(replace(LONG, sent_at=SLOT + timedelta(hours=30)), SHORT)),
    ),
    "another order under an id of ours": (
        "I1",
        lambda: replace(WHOLE, broker_orders=(replace(WHOLE.broker_orders[0], symbol="ZZZ"), WHOLE.broker_orders[1])),
    ),
    "an order of another size under an id of ours": (
        "I1",
        lambda: replace(
            WHOLE, broker_orders=(replace(WHOLE.broker_orders[0], quantity=Decimal(5000)), WHOLE.broker_orders[1])
        ),
    ),
    "an order that was filled and that the broker has never seen": (
        "I3",
        lambda: replace(WHOLE, broker_orders=WHOLE.broker_orders[:1]),
    ),
    "an execution that the ledger does not hold": ("I3", lambda: replace(WHOLE, misbooked=("f-1",))),
    "a result that is not the ledger's": ("I3", lambda: closed(realized_pnl=Decimal(1_000_000_000))),
    "an orphan whose pair had an alert, long ago": (
        "I5",
        lambda: replace(one_leg(PairTradeState.ORPHANED), paged={"AAA/BBB": SLOT - timedelta(days=300)}),
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_found_by_its_invariant_alone(breach: str) -> None:
    name, facts = BREACHES[breach]

    assert broken(facts()) == [name]


@pytest.mark.parametrize("state", [PairTradeState.ORPHANED, PairTradeState.OPENING])
def test_a_leg_that_pages_is_no_breach(state: PairTradeState) -> None:
    assert broken(replace(one_leg(state), paged={"AAA/BBB": SLOT})) == []


@pytest.mark.parametrize("state", [PairTradeState.UNWINDING, PairTradeState.CLOSING])
def test_a_leg_that_is_being_unwound_is_no_breach(state: PairTradeState) -> None:
    assert broken(one_leg(state)) == []


def test_an_exit_may_be_sent_while_reducing_and_an_entry_after_resuming() -> None:
    close = intent(1, -10, OrderState.WORKING, action=OrderAction.CLOSE, version=2)
    reducing, active = (
        RiskChanged(RiskState.ACTIVE, RiskState.REDUCING),
        RiskChanged(RiskState.HALTED, RiskState.ACTIVE),
    )
    facts = replace(WHOLE, intents=(*WHOLE.intents, close), filled={**WHOLE.filled, close.id: close.filled_quantity})

    assert broken(replace(facts, log=(reducing, Sent(close.client_order_id)))) == []
    assert broken(replace(WHOLE, log=(HALT, active, Sent(LONG.client_order_id)))) == []


def test_a_closed_trade_with_the_result_of_the_ledger_breaks_nothing() -> None:
    assert broken(closed(realized_pnl=Decimal("12.5"))) == []


def test_an_order_before_the_look_began_need_not_be_in_the_brokers_list() -> None:
    assert broken(replace(WHOLE, broker_orders=(), since=SLOT + timedelta(hours=1))) == []


def test_shares_that_somebody_else_traded_are_no_breach() -> None:
    assert broken(replace(WHOLE, broker_positions=SOLD_BY_HAND, broker_fills=(by_hand(-4),))) == []


def test_books_are_checked_without_a_broker_and_by_every_rule_that_needs_none() -> None:
    alone = replace(WHOLE, broker_orders=(), broker_positions=(), since=None)
    lost = replace(alone, ledger_shares={"AAA": TEN})

    def of_books(facts: Facts) -> list[str]:
        return [each.name for each in check_books(facts, Decimal("0.05")) if not each.holds]

    assert [each.name for each in check_books(alone, Decimal("0.05"))] == ["I3", "I4", "I5", "I6", "I7"]
    assert of_books(alone) == []
    assert of_books(lost) == ["I3"]
    assert of_books(replace(alone, unbalanced=("entry 1",))) == ["I4"]
    assert of_books(replace(alone, told={})) == ["I6"]
