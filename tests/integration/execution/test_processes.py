"""The promise with real processes: killed anywhere or run twice at once, a slot trades once and no leg hangs."""

from __future__ import annotations

import pytest

from src.shared.domain.signals import SignalAction
from tests.integration.execution.processes import FIRST, SECOND, Floor

MORE_THAN_A_CYCLE_DOES = 90


@pytest.mark.timeout(600)
def test_a_cycle_killed_at_any_point_trades_its_slot_once_and_leaves_no_leg_alone(floor: Floor) -> None:
    """Enter and exit in turn, each killed one step later, until both get through alive."""
    for fatal in range(1, MORE_THAN_A_CYCLE_DOES):
        ends = [floor.killed_then_run_again(action, fatal) for action in (SignalAction.ENTER_LONG, SignalAction.EXIT)]
        # What was broken once stays so: a look now and then tells roughly where, the last one tells of all.
        assert fatal % 8 or floor.broken_invariants() == []
        if ends == [0, 0]:
            break
    assert floor.broken_invariants() == []
    assert 20 < fatal < MORE_THAN_A_CYCLE_DOES - 1


def test_two_processes_on_one_slot_trade_it_once(floor: Floor) -> None:
    for round_ in range(4):
        floor.next_slot(SignalAction.EXIT if round_ % 2 else SignalAction.ENTER_LONG)

        assert floor.run_elsewhere(0, 0) == [0, 0]

        assert floor.orders() == 2 * (round_ + 1)
        assert floor.states()[-1] == ("closed" if round_ % 2 else "open")
        assert floor.held() == ({} if round_ % 2 else {FIRST: 5, SECOND: -4})
    assert floor.broken_invariants() == []
