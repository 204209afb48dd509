"""A storm of 429: entries and reads wait, exits are sent all the same, and everything recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from src.config.settings import load_settings
from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import Transient
from src.shared.domain.signals import SignalAction
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.rate_limit import LONGEST_PAUSE_WAITED
from tests.integration.execution.processes import FIRST, SECOND, START, Floor
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


@pytest.mark.parametrize("is_taken", [True, False])
def test_fault_10_an_order_that_is_answered_with_429_is_looked_up_and_is_one_order(
    floor: Floor, is_taken: bool
) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    rule = {"kind": "status", "endpoint": "POST /v2/orders", "symbol": SECOND, "first": 1, "status": 429}
    floor.twin.admin.fault(**rule, processed=is_taken, reset_seconds=1)

    eventually(lambda: goes_on(floor) and floor.states() == ["open"])

    assert floor.twin.admin.faults()[0]["fired"] == 1
    assert posts(floor) == (2 if is_taken else 3)
    assert floor.orders() == 2
    assert floor.held() == {FIRST: 5, SECOND: -4}
    assert floor.broken_invariants() == []


def test_fault_10_bars_that_are_answered_with_429_are_asked_for_again_by_the_next_run(floor: Floor) -> None:
    client = make_alpaca_client(load_settings())
    window = START - timedelta(hours=1), START
    floor.twin.admin.fault(kind="status", endpoint="GET /v2/stocks/bars", first=1, status=429, reset_seconds=1)

    with pytest.raises(Transient, match="429"):
        client.bars([FIRST], *window)

    assert [bar.start for bar in client.bars([FIRST], *window)[FIRST]] == [window[0], START - timedelta(minutes=30)]
