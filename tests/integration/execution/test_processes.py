"""The promise with real processes: run twice at once, a slot trades once."""

from __future__ import annotations

from src.shared.domain.signals import SignalAction
from tests.integration.execution.processes import FIRST, SECOND, Floor


def test_two_processes_on_one_slot_trade_it_once(floor: Floor) -> None:
    for round_ in range(4):
        floor.next_slot(SignalAction.EXIT if round_ % 2 else SignalAction.ENTER_LONG)

        assert floor.run_elsewhere(2) == [0, 0]

        assert floor.orders() == 2 * (round_ + 1)
        assert floor.states()[-1] == ("closed" if round_ % 2 else "open")
        assert floor.held() == ({} if round_ % 2 else {FIRST: 5, SECOND: -4})
    assert floor.broken_invariants() == []
