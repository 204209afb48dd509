"""What may be sent at once, given what the broker has in a symbol."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.execution.domain.clearance import Around
from src.shared.domain.orders import OrderReport
from tests.unit.execution.examples import SLOT

SHARES = st.integers(-20, 20).map(Decimal)
EXITS = SHARES.filter(bool)


def order(quantity: int, filled: int = 0, name: str = "tw-twin-1") -> OrderReport:
    shares = Decimal(quantity), Decimal(filled)
    return OrderReport(f"b-{name}", name, "AAA", *shares, None, "new", SLOT, SLOT)


@pytest.mark.parametrize(
    ("ours", "theirs", "exit_quantity", "sendable", "missing"),
    [
        (10, 10, -10, -10, 0),  # all is there
        (-10, -10, 10, 10, 0),
        (10, 4, -10, -4, 6),  # six are gone
        (-10, -4, 10, 4, 6),
        (10, 0, -10, 0, 10),  # all are gone
        (10, -3, -10, 0, 13),  # somebody turned the account round
        (10, 15, -10, -10, 0),  # somebody else holds more: it is left alone
        (6, 6, -10, -6, 0),  # another trade is four short: first what is there …
        (0, 0, -4, -4, 0),  # … and then the account gets the other trade's side back
        (-4, -4, -4, -4, 0),
        (5, 8, 5, 0, 3),  # a short of ours inside a long of ours, and a stranger's three: a person has to look
    ],
)
def test_what_may_be_sent_and_what_is_missed(
    ours: int, theirs: int, exit_quantity: int, sendable: int, missing: int
) -> None:
    around = Around(Decimal(ours), Decimal(theirs))

    assert around.sendable(Decimal(exit_quantity)) == sendable
    assert around.missing(Decimal(exit_quantity)) == missing


@pytest.mark.parametrize(
    ("working", "sendable"),
    [
        (order(-4), -6),  # four are held for an order on the same side
        (order(-4, filled=-3), -9),  # three of those are gone from the position already
        (order(-12), 0),
        (order(4), -10),  # the other side holds no shares
    ],
)
@pytest.mark.parametrize("is_ours", [True, False])
def test_shares_held_for_working_orders_are_not_sent_again(
    working: OrderReport, sendable: int, is_ours: bool
) -> None:
    own, others = ((working,), ()) if is_ours else ((), (working,))

    assert Around(Decimal(10), Decimal(10), own, others).sendable(Decimal(-10)) == sendable


def test_what_stands_against_an_exit_is_told_apart_by_whose_it_is() -> None:
    own, other, same_side = order(5, name="tw-twin-2"), order(3, name="by-hand"), order(-1)
    around = Around(Decimal(10), Decimal(10), (own, same_side), (other,))

    assert around.own_against(Decimal(-10)) == (own,)
    assert around.others_against(Decimal(-10)) == (other,)
    assert around.own_against(Decimal(10)) == (same_side,)


@given(SHARES, SHARES, EXITS)
def test_an_exit_is_never_more_than_asked_for_nor_on_the_other_side(
    ours: Decimal, theirs: Decimal, asked: Decimal
) -> None:
    sent = Around(ours, theirs).sendable(asked)

    assert sent * asked >= 0
    assert abs(sent) <= abs(asked)


@given(SHARES, SHARES, EXITS)
def test_an_exit_turns_the_account_round_only_when_nothing_is_missing(
    ours: Decimal, theirs: Decimal, asked: Decimal
) -> None:
    around = Around(ours, theirs)
    after = theirs + around.sendable(asked)

    assert after * theirs >= 0
    if around.missing(asked):
        assert abs(after) <= abs(theirs)
