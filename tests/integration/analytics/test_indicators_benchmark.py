from __future__ import annotations

import pytest
from sqlalchemy import Engine

from benchmarks.indicators import measure
from src.shared.domain.bars import DAILY, HOURLY


@pytest.mark.parametrize("timeframe", [DAILY, HOURLY])
def test_a_first_run_a_new_bar_and_nothing_new_are_measured(engine: Engine, timeframe: str) -> None:
    rows = measure(engine, timeframe, symbols=3, years=0.1)

    assert [row.name.split(", ")[-1] for row in rows] == ["first", "one new bar each", "nothing new"]
    assert all(row.value > 0 and row.reference_value for row in rows)
