"""The benchmarks of execution, run small: that they measure what they say, and what does not grow with the pairs."""

from __future__ import annotations

from benchmarks import both_legs, reconcile
from benchmarks.slot_cost import ORDERS_A_PAIR, count_holding, count_idle, count_opening
from benchmarks.traded_slot import TRUE_PAIRS


def test_an_idle_slot_asks_the_broker_as_often_for_one_pair_as_for_many() -> None:
    flat = [count_idle(size) for size in (1, 6)]
    held = [count_holding(TRUE_PAIRS[:size]) for size in (1, len(TRUE_PAIRS))]

    assert len({counts["requests"] for counts in (*flat, *held)}) == 1
    assert {counts["orders"] for counts in (*flat, *held)} == {0}


def test_opening_a_pair_sends_an_order_for_each_leg_and_no_more() -> None:
    assert count_opening(1)["orders"] == ORDERS_A_PAIR


def test_the_way_to_both_legs_and_a_reconcile_are_measured() -> None:
    near, few = both_legs.measure(0), reconcile.measure(10)

    assert near.value > near.details["first leg accepted"] > 0
    assert near.details["requests of the slot"] > ORDERS_A_PAIR
    assert few.value > 0
    assert few.details["broker requests"] > 0
