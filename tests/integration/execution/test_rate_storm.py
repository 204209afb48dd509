"""A storm of 429: entries and reads wait, exits are sent all the same, and everything recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import Transient
from src.shared.domain.signals import SignalAction
from src.shared.infra.rate_limit import LONGEST_PAUSE_WAITED
from tests.integration.execution.processes import FIRST, SECOND, Floor
from tests.polling import eventually

READS = ("/v2/account*", "/v2/positions", "/v2/orders", "/v2/orders:by_client_order_id")


@contextmanager
def storm(floor: Floor, *endpoints: str, pause: int = 1) -> Iterator[None]:
    """Answer reads with 429 until the block ends; the vendor then asks for a pause of so many seconds each time."""
    for endpoint in endpoints:
        floor.twin.admin.fault(kind="status", endpoint=f"GET {endpoint}", status=429, reset_seconds=pause)
    yield
    floor.twin.admin.clear_faults()


def posts(floor: Floor) -> int:
    count: int = floor.twin.admin.state()["order_posts"]
    return count


def run(floor: Floor) -> Gate:
    gate = floor.service.cycle.open_gate()
    floor.service.cycle.execute_slot(gate)
    return gate


def goes_on(floor: Floor) -> bool:
    """Run a cycle as a task that repeats it does; say whether it got through."""
    try:
        return run(floor).reconciled
    except Transient:
        return False


def test_fault_10_a_storm_of_429_stops_entries_and_the_cycle_ends_cleanly(floor: Floor) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    with storm(floor, *READS):
        gate = run(floor)

    assert not gate.reconciled
    assert posts(floor) == 0
    assert floor.states() == ["abandoned"]
    assert floor.broken_invariants() == []

    floor.next_slot(SignalAction.ENTER_LONG)
    assert run(floor).reconciled
    assert floor.held() == {FIRST: 5, SECOND: -4}


def test_fault_10_exits_are_sent_in_a_storm_of_429_and_booked_after_it(floor: Floor) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    run(floor)
    floor.next_slot(SignalAction.EXIT)
    # So long a pause is not waited for: what is not urgent fails at once.
    with storm(floor, *READS, pause=2 * round(LONGEST_PAUSE_WAITED)), pytest.raises(Transient):
        run(floor)

    state = floor.twin.admin.state()
    assert state["order_posts"] == 4
    assert state["positions"] == []

    eventually(lambda: goes_on(floor))
    assert floor.states() == ["closed"]
    assert posts(floor) == 4
    assert floor.broken_invariants() == []


def test_fault_10_where_not_even_the_time_is_told_a_cycle_is_skipped(floor: Floor) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    with storm(floor, "/v2/*"), pytest.raises(Transient, match=r"429|limit"):
        run(floor)
    assert posts(floor) == 0

    run(floor)
    assert floor.states() == ["open"]
    assert floor.broken_invariants() == []
