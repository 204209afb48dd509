"""A small run of the benchmark of long loads, so that it does not rot; nothing about how long anything took."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks import history


def test_the_benchmark_of_long_loads_measures_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "FIRST": datetime(2025, 10, 1, tzinfo=UTC),
        "SYMBOLS": 1,
        "REPEATS": 1,
        "TEN_TIMES": 2,
        "TWIN_SYMBOLS": 1,
    }
    for name, value in small.items():
        monkeypatch.setattr(history, name, value)

    rows = history.rows()

    assert [row.name.split(",")[0] for row in rows] == [
        "judge half hours and make hours of them",
        "binary COPY",
        "first load",
        "load again",
        "peak memory of a load of 2 times 1 symbols",
        "1 symbols × 2 years of hours",
    ]
    assert all(row.value > 0 for row in rows)
    assert [row.reference_value for row in rows[2:4]] == [rows[1].value] * 2
