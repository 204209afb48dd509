"""Rows 22 and 26 to 29: what else is in the account, and what the account is said to hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from src.services.execution.domain.reconciliation import Kind
from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import Transient
from tests.faults.scene import ELSEWHERE, ENTER, ENTER_SHORT, EXIT, FOR_EVER, PAIR, SHARING, A, B, C, Scene

DISAGREE = ("critical", "books and broker disagree")
STUCK = ("critical", "a trade can't be carried on")
BAR = timedelta(minutes=30)
POSITIONS = "GET /v2/positions"
PAIR_AND_SHARING = (PAIR, SHARING)
WRONG_WAY = (-5, 4)
UNTOUCHED = {"ZORN": 5, "ZEMA": -4}
LIES: dict[str, dict[str, Any]] = {
    "lag": {"kind": "lag", "seconds": FOR_EVER},
    "missing row": {"kind": "missing_rows", "endpoint": POSITIONS, "without": [A]},
    "empty list": {"kind": "missing_rows", "endpoint": POSITIONS},
}
"""Row 28."""


def kinds(gate: Gate) -> set[tuple[Kind, str]]:
    return {(finding.kind, finding.subject) for finding in gate.findings}


def refused(scene: Scene) -> int:
    """Count the requests that the venue did not take, and the orders that it rejected."""
    return scene.posts - sum(status != "rejected" for _, _, status in scene.orders)


@pytest.mark.parametrize("field", ["avg_entry_price", "qty", "side", "symbol"])
def test_fault_22_a_position_that_can_not_be_read_keeps_no_exit_from_being_sent(scene: Scene, field: str) -> None:
    scene.open_pair()
    scene.lie("extra", endpoint=POSITIONS, set={field: None}, times=FOR_EVER)
    scene.approve(EXIT)

    scene.run()

    assert (scene.states(), scene.held) == (["closed"], {})
    assert refused(scene) == 0
    scene.comes_to_rest(["closed"], {})


def test_fault_22_a_position_of_somebody_else_that_can_not_be_read_makes_no_exit_blind(scene: Scene) -> None:
    """What is there of our own symbols can be read, so no more of them is sold than that."""
    scene.open_pair()
    scene.twin.order_by_hand(A, -2)
    scene.twin.order_by_hand("ZORN", 1)
    scene.lie("extra", endpoint=POSITIONS, row=2, set={"qty": None}, times=FOR_EVER)
    scene.approve(EXIT)

    gate = scene.run()

    assert (Kind.UNREAD, "position") in kinds(gate)
    assert [order[:2] for order in scene.orders[2:]] == [(A, -3), (B, 4)]
    scene.comes_to_rest(["orphaned"], {"ZORN": 1})


def test_fault_26_a_pair_that_turns_round_is_flat_before_it_is_short(scene: Scene) -> None:
    scene.open_pair()
    scene.approve(EXIT)
    scene.run()
    assert scene.held == {}
    scene.next_hour()

    scene.approve(ENTER_SHORT, quantities=WRONG_WAY)
    scene.run()

    assert refused(scene) == 0
    scene.comes_to_rest(["closed", "open"], {A: -5, B: 4})


def test_fault_26_a_pair_that_turns_round_in_one_slot_with_another_is_closed_first_and_nothing_is_refused(
    scene: Scene,
) -> None:
    scene.open_pair()
    scene.approve(ENTER_SHORT, SHARING, WRONG_WAY)
    scene.approve(EXIT)

    scene.run()

    assert [order[:2] for order in scene.orders[2:]] == [(A, -5), (B, 4), (A, -5), (C, 4)]
    assert refused(scene) == 0
    scene.comes_to_rest(["closed", "open"], {A: -5, C: 4})


def test_fault_26_an_entry_that_would_turn_another_pairs_leg_round_is_not_sent(scene: Scene) -> None:
    scene.open_pair()
    scene.approve(ENTER_SHORT, SHARING, WRONG_WAY)

    scene.run()

    assert scene.posts == 2
    scene.comes_to_rest(["open", "abandoned"], {A: 5, B: -4})


def test_fault_26_a_close_of_more_than_the_account_has_sells_what_is_there_and_pages_for_the_rest(
    scene: Scene,
) -> None:
    scene.open_pair()
    scene.twin.order_by_hand(A, -2)
    scene.approve(EXIT)

    scene.run()

    assert refused(scene) == 1
    assert [order[:2] for order in scene.orders[2:]] == [(A, -3), (B, 4)]
    assert ("critical", "leg can't be closed") in scene.alerts()
    scene.comes_to_rest(["orphaned"], {})


def test_fault_26_two_pairs_close_one_symbol_while_one_close_rests_and_nothing_is_refused(scene: Scene) -> None:
    scene.open_pair(*PAIR_AND_SHARING)
    resting = scene.lie("no_fill", symbol=A, times=1)
    for pair in PAIR_AND_SHARING:
        scene.approve(EXIT, pair)
    # It may fill again before the next bar, whose open fills it.
    scene.clock.move_to(scene.slot + BAR - timedelta(seconds=30))
    scene.clock.put_off(20, lambda: scene.end(resting))

    scene.run()

    assert refused(scene) == 0
    assert sorted(scene.orders[4:]) == [(A, -5, "filled")] * 2 + [(B, 4, "filled"), (C, 4, "filled")]
    scene.comes_to_rest(["closed", "closed"], {})


def test_fault_26_a_close_that_rests_until_its_deadline_costs_the_other_pair_nothing(scene: Scene) -> None:
    scene.open_pair(*PAIR_AND_SHARING)
    scene.lie("no_fill", symbol=A, times=1)
    for pair in PAIR_AND_SHARING:
        scene.approve(EXIT, pair)

    scene.run()

    assert refused(scene) == 0
    assert [order for order in scene.orders if order[2] == "canceled"] == [(A, -5, "canceled")]
    scene.comes_to_rest(["closed", "closed"], {})


def test_fault_27_an_order_of_somebody_else_blocks_its_symbol_and_is_left_alone(scene: Scene) -> None:
    scene.twin.order_by_hand(A, -1, type="limit", limit_price="9999")
    for pair in (SHARING, ELSEWHERE):
        scene.approve(ENTER, pair)

    gate = scene.enter()

    assert gate.reconciled
    assert gate.blocked_symbols == {A}
    assert scene.twin.admin.state()["counts"]["open_orders"] == 1
    scene.comes_to_rest(["abandoned", "abandoned", "open"], UNTOUCHED)


def test_fault_27_a_position_of_somebody_else_blocks_its_symbol_and_is_left_alone(scene: Scene) -> None:
    scene.twin.order_by_hand(A, 7)
    for pair in (SHARING, ELSEWHERE):
        scene.approve(ENTER, pair)

    gate = scene.enter()

    assert gate.reconciled
    assert kinds(gate) == {(Kind.EXTERNAL_POSITION, A)}
    scene.comes_to_rest(["abandoned", "abandoned", "open"], UNTOUCHED | {A: 7})


@pytest.mark.parametrize("theirs", [3, -2])
def test_fault_27_a_trade_of_somebody_else_in_what_we_hold_blocks_its_symbol_and_our_exit_is_ours_alone(
    scene: Scene, theirs: int
) -> None:
    scene.open_pair()
    scene.twin.order_by_hand(A, theirs)
    for pair in (SHARING, ELSEWHERE):
        scene.approve(ENTER, pair)

    gate = scene.run()

    assert gate.reconciled
    assert kinds(gate) == {(Kind.EXTERNAL_POSITION, A)}
    assert ("warning", "somebody else trades what we hold") in scene.alerts()
    assert scene.state_of(SHARING) == "abandoned"
    assert scene.state_of(ELSEWHERE) == "open"
    assert scene.held == UNTOUCHED | {A: 5 + theirs, B: -4}
    scene.comes_to_rest(["open", "abandoned", "open"], UNTOUCHED | {A: 5 + theirs, B: -4})


def test_fault_27_shares_that_somebody_else_added_are_there_after_our_exit(scene: Scene) -> None:
    scene.open_pair()
    scene.twin.order_by_hand(A, 3)
    scene.approve(EXIT)

    scene.run()

    assert refused(scene) == 1
    scene.comes_to_rest(["closed"], {A: 3})


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_fault_28_one_look_that_misses_a_position_changes_nothing(scene: Scene, lie: dict[str, Any]) -> None:
    scene.open_pair()
    scene.lie(**lie)
    # Half a second later, between two looks that are a second apart, it is there again.
    scene.clock.put_off(0.5, scene.tell_the_truth)
    scene.approve(ENTER, ELSEWHERE)

    gate = scene.run()

    assert gate.findings == ()
    assert scene.state_of(ELSEWHERE) == "open"
    scene.comes_to_rest(["open", "open"], UNTOUCHED | {A: 5, B: -4})


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_fault_28_an_exit_whose_first_look_misses_the_position_closes_all_of_it(
    scene: Scene, lie: dict[str, Any]
) -> None:
    scene.open_pair()
    scene.approve(EXIT)
    gate = scene.service.cycle.open_gate()
    scene.lie(**lie)
    scene.clock.put_off(0.5, scene.tell_the_truth)

    scene.service.cycle.execute_slot(gate)

    assert [order[:2] for order in scene.orders[2:]] == [(A, -5), (B, 4)]
    scene.comes_to_rest(["closed"], {})


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_fault_28_positions_that_stay_away_stop_entries_and_close_no_books(scene: Scene, lie: dict[str, Any]) -> None:
    scene.open_pair()
    scene.lie(**lie)
    scene.approve(EXIT)
    scene.approve(ENTER, ELSEWHERE)

    gate = scene.run()

    assert not gate.reconciled
    assert (Kind.POSITION_DRIFT, A) in kinds(gate)
    assert scene.state_of(PAIR) == "orphaned"
    assert ("critical", "leg can't be closed") in scene.alerts()
    assert scene.held[A] == 5
    scene.comes_to_rest(["closed", "abandoned"], {})


def test_fault_29_an_execution_that_no_list_shows_stops_entries_alarms_and_is_booked_when_it_is_told(
    scene: Scene,
) -> None:
    scene.lie("lost_fill", symbol=B)
    with pytest.raises(Transient, match="not in the activities yet"):
        scene.enter()
    scene.approve(ENTER, ELSEWHERE)

    gate = scene.service.cycle.open_gate()
    with pytest.raises(Transient):
        scene.service.cycle.execute_slot(gate)

    assert not gate.reconciled
    assert (Kind.MISSING_EXECUTIONS, scene.name(2)) in kinds(gate)
    assert scene.quarantined() == ["executions"]
    assert {("critical", "books and broker disagree"), ("critical", "a trade can't be carried on")} <= {
        *scene.alerts()
    }
    # The books of the first leg do not keep its hedge from being there.
    assert (scene.posts, scene.held, scene.state_of(PAIR)) == (2, {A: 5, B: -4}, "opening")
    scene.comes_to_rest(["open", "open"], UNTOUCHED | {A: 5, B: -4})


def test_fault_29_an_execution_of_an_exit_that_no_list_shows_keeps_no_other_exit_from_its_end(scene: Scene) -> None:
    scene.open_pair(PAIR, ELSEWHERE)
    scene.lie("lost_fill", symbol=A)
    for pair in (PAIR, ELSEWHERE):
        scene.approve(EXIT, pair)

    with pytest.raises(Transient, match="not in the activities yet"):
        scene.run()

    assert (scene.state_of(PAIR), scene.state_of(ELSEWHERE)) == ("closing", "closed")
    assert scene.held == {}
    scene.comes_to_rest(["closed", "closed"], {})
