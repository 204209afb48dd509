from __future__ import annotations

import pytest

from benchmarks.crash_recovery import KILLS, measure
from tests.integration.execution.processes import Floor


@pytest.mark.chaos
def test_the_way_back_from_a_kill_is_measured(floor: Floor) -> None:
    rows = measure(floor, repeats=1)

    assert len(rows) == len(KILLS)
    assert all(row.value > 0 and row.reference_value for row in rows)
    assert floor.broken_invariants() == []
