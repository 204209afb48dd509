from __future__ import annotations

from sqlalchemy import Engine

from benchmarks.instances import measure


def test_slots_reconciling_and_ticks_of_instances_are_measured(engine: Engine) -> None:
    rows = measure(engine, slot_size=4, sizes=(3,))

    assert [row.name.split(",")[0] for row in rows] == [
        "slot of 4 instances",
        "engine: nothing to reconcile",
        "engine: one config changed",
        "engine: a tick that all look at",
    ]
    assert all(row.value > 0 for row in rows)
    assert rows[0].reference_value
