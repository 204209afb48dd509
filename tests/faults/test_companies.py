"""A halt in a symbol: row 33. What companies do is in `tests/integration/execution/test_corporate_actions.py`."""

from __future__ import annotations

import pytest

from src.shared.domain.errors import Transient
from tests.faults.scene import EXIT, PAIR, A, B, Scene


@pytest.mark.parametrize(("halted", "left"), [(A, {A: 5, B: -4}), (B, {B: -4})])
def test_fault_33_a_leg_that_is_halted_is_paged_and_closed_when_the_halt_is_over(
    scene: Scene, halted: str, left: dict[str, int]
) -> None:
    scene.open_pair()
    scene.lie("halt", symbol=halted)
    scene.approve(EXIT)

    scene.run()
    assert scene.state_of(PAIR) == "orphaned"
    assert scene.held == left
    assert ("critical", "leg can't be closed") in scene.alerts()

    scene.next_hour()
    scene.run()
    assert scene.held == left
    assert scene.states() == ["orphaned"]

    scene.next_hour()
    scene.comes_to_rest(["closed"], {})


def test_fault_33_an_entry_in_a_halt_leaves_no_leg_alone(scene: Scene) -> None:
    scene.lie("halt", symbol=A)

    scene.enter()

    assert scene.states() == ["unwound"]
    assert [(symbol, shares) for symbol, shares, _ in scene.orders] == [(B, -4), (B, 4)]
    scene.comes_to_rest(["unwound"], {})


def test_fault_33_an_exit_that_waited_in_the_halt_is_not_sent_beside_another(scene: Scene) -> None:
    scene.open_pair()
    scene.lie("halt")
    scene.approve(EXIT)

    for _ in range(3):
        try:
            scene.run()
        except Transient:
            scene.clock.sleep(1)
    assert scene.held == {A: 5, B: -4}

    scene.next_hour()
    scene.comes_to_rest(["closed"], {})
    assert sum(shares for symbol, shares, _ in scene.orders if symbol == A) == 0
