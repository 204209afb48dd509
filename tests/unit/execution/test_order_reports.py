"""Reports move an order forward only, whatever their order and number."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.execution.domain.order_reports import apply_report, is_same_order, moved
from src.shared.domain.errors import InvalidTransition
from src.shared.domain.orders import DONE_ORDERS, ORDER_TRANSITIONS, OrderIntent, OrderReport, OrderState
from tests.unit.execution.examples import intent, report

S = OrderState
SENT = intent(1, 10, S.SENDING, broker_order_id=None)


@pytest.mark.parametrize("before", list(OrderState))
@pytest.mark.parametrize("after", list(OrderState))
def test_only_the_tables_transitions_are_made(before: OrderState, after: OrderState) -> None:
    order = intent(1, 10, before)

    if after in ORDER_TRANSITIONS[before]:
        assert (moved(order, after).state, moved(order, after).version) == (after, order.version + 1)
    else:
        with pytest.raises(InvalidTransition, match=order.client_order_id):
            moved(order, after)


@pytest.mark.parametrize(
    ("state", "filled", "status", "told", "expected"),
    [
        (S.SENDING, 0, "pending_new", 0, [S.ACKED]),
        (S.UNKNOWN, 0, "new", 0, [S.ACKED, S.WORKING]),
        (S.SENDING, 0, "filled", 10, [S.ACKED, S.FILLED]),
        (S.SENDING, 0, "rejected", 0, [S.ACKED, S.REJECTED]),
        (S.ACKED, 0, "a word of tomorrow", 0, []),
        (S.ACKED, 0, "a word of tomorrow", 4, [S.PARTIALLY_FILLED]),
        (S.WORKING, 0, "new", 0, []),
        (S.WORKING, 0, "pending_new", 0, []),
        (S.WORKING, 0, "new", 4, [S.PARTIALLY_FILLED]),
        (S.WORKING, 0, "pending_cancel", 10, [S.FILLED]),
        (S.WORKING, 0, "filled", 0, []),
        (S.WORKING, 0, "filled", 4, [S.PARTIALLY_FILLED]),
        (S.PARTIALLY_FILLED, 4, "partially_filled", 4, []),
        (S.PARTIALLY_FILLED, 4, "partially_filled", 6, [S.PARTIALLY_FILLED]),
        (S.PARTIALLY_FILLED, 4, "partially_filled", 2, []),
        (S.PARTIALLY_FILLED, 4, "canceled", 4, [S.CANCELED]),
        (S.PARTIALLY_FILLED, 4, "rejected", 0, [S.CANCELED]),
        (S.PARTIALLY_FILLED, 4, "done_for_day", 4, [S.EXPIRED]),
        (S.CANCELED, 0, "new", 0, []),
        (S.CANCELED, 0, "partially_filled", 4, [S.CANCELED]),
        (S.CANCELED, 4, "canceled", 6, [S.CANCELED]),
        (S.CANCELED, 4, "expired", 6, [S.CANCELED]),
        (S.CANCELED, 4, "filled", 10, [S.FILLED]),
        (S.EXPIRED, 0, "canceled", 3, [S.EXPIRED]),
        (S.EXPIRED, 0, "filled", 10, [S.FILLED]),
        (S.FILLED, 10, "canceled", 10, []),
        (S.REJECTED, 0, "new", 0, []),
        (S.REJECTED, 0, "partially_filled", 4, [S.REJECTED]),
        (S.REJECTED, 0, "filled", 10, [S.FILLED]),
    ],
)
def test_what_a_report_does(
    state: OrderState, filled: int, status: str, told: int, expected: list[OrderState]
) -> None:
    order = intent(1, 10, state, filled=filled)

    steps = apply_report(order, report(order, status, told))

    assert [each.state for each in steps] == expected
    if steps:
        assert steps[-1].filled_quantity == max(filled, told)
        assert [each.version for each in steps] == list(range(order.version + 1, order.version + 1 + len(steps)))


def test_an_order_given_up_as_never_placed_learns_its_broker_id_with_its_fill() -> None:
    order = intent(1, 10, S.CANCELED, broker_order_id=None)

    (after,) = apply_report(order, report(order, "filled", broker_order_id="b-7"))

    assert (after.state, after.broker_order_id) == (S.FILLED, "b-7")


@pytest.mark.parametrize("change", [{"symbol": "CCC"}, {"quantity": 11}, {"client_order_id": "tw-twin-x"}])
def test_another_order_is_not_taken_for_ours(change: dict[str, Any]) -> None:
    assert is_same_order(SENT, report(SENT, "new"))
    assert not is_same_order(SENT, report(SENT, "new", **change))


@st.composite
def histories(draw: st.DrawFn) -> list[OrderReport]:
    """What a venue may say of one order, in the order in which it happened."""
    fills = sorted(draw(st.lists(st.integers(1, 9), max_size=4, unique=True)))
    told = [report(SENT, "pending_new"), report(SENT, "new")]
    told += [report(SENT, "partially_filled", shares) for shares in fills]
    end = draw(st.sampled_from(["filled", "canceled", "expired"]))
    if end == "filled":
        return [*told, report(SENT, "filled")]
    last = fills[-1] if fills else 0
    late = draw(st.sampled_from([[], [last + 1], [10]]))
    return [*told, report(SENT, end, last), *(report(SENT, "filled" if n == 10 else end, n) for n in late)]


def _heard(reports: list[OrderReport]) -> OrderIntent:
    order = SENT
    for each in reports:
        for after in apply_report(order, each):
            assert after.state in ORDER_TRANSITIONS[order.state]
            assert abs(after.filled_quantity) >= abs(order.filled_quantity)
            assert after.version == order.version + 1
            assert not (order.state in DONE_ORDERS and after.state not in DONE_ORDERS)
            order = after
    return order


@given(histories(), st.data())
def test_shuffled_and_doubled_reports_end_where_the_history_ends(
    told: list[OrderReport], data: st.DataObject
) -> None:
    doubled = told + data.draw(st.lists(st.sampled_from(told), max_size=5))
    shuffled = data.draw(st.permutations(doubled))

    straight, crooked = _heard(told), _heard(list(shuffled))

    assert (crooked.state, crooked.filled_quantity) == (straight.state, straight.filled_quantity)
    assert straight.filled_quantity == told[-1].filled_quantity
    assert all(a.filled_quantity <= b.filled_quantity for a, b in pairwise(told))
