from __future__ import annotations

from sqlalchemy import Engine

from benchmarks.quality_rules import measure


def test_the_rules_are_measured_with_and_without_the_database(engine: Engine) -> None:
    rows = measure(engine, symbols=3, stored=2)

    assert [row.name.split(",")[0] for row in rows] == ["16 rules on 3 series of hours", "validate"]
    assert all(row.value > 0 and row.reference_value for row in rows)
