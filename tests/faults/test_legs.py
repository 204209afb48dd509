"""Rows 14 to 18, 24 and 25: one leg is there and the other is not, or not all of it."""

from __future__ import annotations

from typing import Any

import pytest

from src.shared.domain.errors import Transient
from src.shared.domain.orders import OrderAction
from tests.faults.scene import ELSEWHERE, ENTER, EXIT, LOOK_UP, SHARING, A, B, C, Scene

UNWINDING = ("error", "entry is being unwound")
ORPHANED = ("critical", "leg can't be closed")
STUCK = ("critical", "a trade can't be carried on")
FIRST_LEG_AND_BACK = [(B, -4, "filled"), (B, 4, "filled")]
DEADLINE_SECONDS = 60
REFUSALS: dict[str, dict[str, Any]] = {
    "buying power": {"kind": "reject", "code": 40310000, "message": "insufficient buying power"},
    "wash trade": {"kind": "reject", "code": 40310000, "message": "potential wash trade detected"},
    "halt": {"kind": "halt"},
    "not taken": {"kind": "reject"},
}
LARGER = (20, -16)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_fault_14_a_refused_second_leg_unwinds_the_first_and_people_are_told(
    scene: Scene, refusal: dict[str, Any]
) -> None:
    scene.lie(symbol=A, **refusal)

    scene.enter()

    assert scene.posts == 3
    assert scene.orders == FIRST_LEG_AND_BACK
    assert UNWINDING in scene.alerts()
    scene.comes_to_rest(["unwound"], {})


def test_fault_14_a_second_leg_against_somebody_elses_order_unwinds_the_first(scene: Scene) -> None:
    scene.just_before_sending(
        scene.name(1), lambda: scene.twin.order_by_hand(A, -1, type="limit", limit_price="9999")
    )

    scene.enter()

    assert scene.orders == FIRST_LEG_AND_BACK
    scene.comes_to_rest(["unwound"], {})


@pytest.mark.parametrize("refusal", [{"kind": "short_refused"}, *REFUSALS.values()], ids=["no short", *REFUSALS])
def test_fault_14_a_refused_first_leg_ends_the_entry_with_nothing_held(scene: Scene, refusal: dict[str, Any]) -> None:
    scene.lie(symbol=B, **refusal)

    scene.enter()

    assert (scene.posts, scene.orders) == (1, [])
    scene.comes_to_rest(["abandoned"], {})


def test_fault_14_a_short_that_cannot_be_had_is_not_asked_for(scene: Scene) -> None:
    scene.twin.admin.rules(B, easy_to_borrow=False)

    scene.enter()

    assert scene.posts == 0
    scene.comes_to_rest(["abandoned"], {})


def test_fault_15_a_second_leg_that_never_fills_is_cancelled_at_its_deadline_and_the_first_unwound(
    scene: Scene,
) -> None:
    scene.lie("no_fill", symbol=A)
    began = scene.clock.now()

    scene.enter()

    assert (scene.clock.now() - began).total_seconds() >= DEADLINE_SECONDS
    assert scene.orders == [(B, -4, "filled"), (A, 5, "canceled"), (B, 4, "filled")]
    assert UNWINDING in scene.alerts()
    scene.comes_to_rest(["unwound"], {})


def test_fault_16_legs_that_fill_in_different_parts_keep_the_smaller_one_and_give_the_rest_back(scene: Scene) -> None:
    for symbol in (A, B):
        scene.lie("partial_fill", symbol=symbol, fraction=0.5, times=1)

    scene.enter(quantities=LARGER)

    assert scene.orders == [(B, -16, "canceled"), (A, 10, "canceled"), (B, 4, "filled")]
    scene.comes_to_rest(["open"], {A: 5, B: -4})


def test_fault_16_a_part_of_the_first_leg_is_what_the_second_is_sized_by(scene: Scene) -> None:
    scene.lie("partial_fill", symbol=B, fraction=0.25, times=1)

    scene.enter(quantities=LARGER)

    assert scene.orders == [(B, -16, "canceled"), (A, 5, "filled")]
    scene.comes_to_rest(["open"], {A: 5, B: -4})


@pytest.mark.parametrize("cancel", ["cancel_too_late", "fill_during_cancel", "late_fill_after_cancel"])
def test_fault_17_a_fill_that_lands_during_the_cancel_is_booked_and_nothing_is_unwound_twice(
    scene: Scene, cancel: str
) -> None:
    scene.lie("no_fill", symbol=A, times=1)
    scene.lie(cancel, symbol=A)

    scene.enter()

    assert scene.orders == [(B, -4, "filled"), (A, 5, "filled")]
    scene.comes_to_rest(["open"], {A: 5, B: -4})


def test_fault_17_a_part_that_fills_during_the_cancel_is_kept_and_the_rest_given_back(scene: Scene) -> None:
    scene.lie("no_fill", symbol=A, times=1)
    scene.lie("fill_during_cancel", symbol=A, fraction=0.5)

    scene.enter(quantities=LARGER)

    assert scene.orders == [(B, -16, "filled"), (A, 20, "canceled"), (B, 8, "filled")]
    scene.comes_to_rest(["open"], {A: 10, B: -8})


def test_fault_17_a_fill_that_is_told_after_the_unwind_is_booked_paged_and_sold_once(scene: Scene) -> None:
    scene.lie("no_fill", symbol=A, times=1)
    scene.lie("late_fill_after_cancel", symbol=A)
    untold = {"status": "canceled", "filled_qty": "0", "filled_avg_price": None}
    scene.clock.put_off(
        DEADLINE_SECONDS + 1, lambda: scene.lie("extra", endpoint=LOOK_UP, client_order_id=scene.name(1), set=untold)
    )
    scene.enter()
    assert (scene.states(), scene.held) == (["unwound"], {A: 5})

    scene.tell_the_truth()
    scene.run()

    assert scene.orders == [(B, -4, "filled"), (A, 5, "filled"), (B, 4, "filled"), (A, -5, "filled")]
    assert ORPHANED in scene.alerts()
    scene.comes_to_rest(["unwound"], {})


def test_fault_18_an_unwind_that_is_refused_stays_orphaned_pages_blocks_entries_and_is_tried_again(
    scene: Scene,
) -> None:
    scene.lie("reject", symbol=A, times=1)
    scene.twin.admin.rules(B, reject_side="buy")
    scene.enter()

    assert scene.states() == ["orphaned"]
    assert ORPHANED in scene.alerts()
    attempts = scene.posts
    scene.run()
    assert scene.posts == attempts

    scene.next_hour()
    scene.enter()
    assert scene.posts == attempts + 3
    assert (scene.states(), scene.held) == (["orphaned", "abandoned"], {B: -4})
    assert all(order != (A, 5, "filled") for order in scene.orders)

    scene.twin.admin.rules(B, reject_side=None)
    scene.next_hour()
    scene.comes_to_rest(["unwound", "abandoned"], {})


@pytest.mark.parametrize("endpoint", ["*", "POST *"])
def test_fault_18_an_unwind_that_the_venue_is_not_there_for_is_carried_on_when_it_is_back(
    scene: Scene, endpoint: str
) -> None:
    scene.lie("reject", symbol=A, times=1)
    unwind = scene.name(2, OrderAction.UNWIND)
    scene.just_before_sending(unwind, lambda: scene.lie("status", endpoint=endpoint, body="html"))
    scene.approve(ENTER)
    gate = scene.service.cycle.open_gate()

    for _ in range(2):
        with pytest.raises(Transient):
            scene.service.cycle.execute_slot(gate)

    assert (scene.states(), scene.held) == (["unwinding"], {B: -4})
    scene.tell_the_truth()
    scene.next_hour()
    scene.comes_to_rest(["unwound"], {})


def test_fault_24_a_cancel_that_is_stuck_is_waited_for_no_longer_than_it_may_freezes_its_symbols_and_pages(
    scene: Scene,
) -> None:
    scene.lie("no_fill", symbol=A)
    scene.lie("stuck_pending_cancel", symbol=A)
    with pytest.raises(Transient, match="neither fills nor cancels"):
        scene.enter()

    scene.approve(ENTER, SHARING)
    scene.approve(ENTER, ELSEWHERE)
    gate = scene.service.cycle.open_gate()
    with pytest.raises(Transient):
        scene.service.cycle.execute_slot(gate)

    assert gate.blocked_symbols == {A, B}
    assert scene.state_of(ELSEWHERE) == "open"
    assert not any(symbol == A for symbol, _, status in scene.orders if status == "filled")
    assert scene.alerts().count(STUCK) == 1
    scene.comes_to_rest(["unwound", "open", "open"], {A: 5, C: -4, "ZORN": 5, "ZEMA": -4})


@pytest.mark.parametrize(("leg", "orders"), [(A, FIRST_LEG_AND_BACK), (B, [])])
def test_fault_25_a_leg_that_is_rejected_after_it_was_taken_is_a_leg_that_is_not_there(
    scene: Scene, leg: str, orders: list[tuple[str, int, str]]
) -> None:
    scene.lie("reject_async", symbol=leg)

    scene.enter()

    assert [order for order in scene.orders if order[2] != "rejected"] == orders
    assert len(scene.orders) == len(orders) + 1
    scene.comes_to_rest(["unwound" if orders else "abandoned"], {})


def test_fault_25_a_close_that_is_rejected_after_it_was_taken_is_sent_again(scene: Scene) -> None:
    scene.open_pair()
    scene.lie("reject_async", symbol=A, times=1)

    scene.approve(EXIT)
    scene.run()

    assert [order for order in scene.orders if order[2] == "rejected"] == [(A, -5, "rejected")]
    scene.comes_to_rest(["closed"], {})
