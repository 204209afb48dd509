from __future__ import annotations

from sqlalchemy import Engine

from benchmarks.signal_step import measure


def test_the_signal_step_is_measured_with_and_without_the_database(engine: Engine) -> None:
    rows = measure(engine, sizes=(1, 4))

    assert [row.name.split(",")[1].split()[0] for row in rows] == ["1", "4", "1", "4"]
    assert all(row.value > 0 and row.reference_value for row in rows)
