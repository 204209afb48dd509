"""What a strategy shows is data: of four kinds, finite, bounded, and the same after a journey as JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from src.services.strategy_engine.sdk import Line, LineChart, Metric, Table, Text
from src.services.strategy_engine.sdk.widgets import WIDGETS

TIMES = tuple(datetime(2026, 3, 10, 15, tzinfo=UTC) + timedelta(hours=i) for i in range(3))


def test_all_kinds_come_back_from_json_as_they_went_in() -> None:
    shown = (
        Metric(label="z", value=np.float64(-2.25), unit="sd"),
        Metric(label="unknown", value=math.nan),
        LineChart(title="Closes", x=TIMES, lines=(Line(name="KO", values=np.array([60.0, math.nan, 62.0])),)),
        LineChart(title="By number", x=(1.0, 2.0), lines=(Line(name="a", values=(1, 2)),)),
        Table(title="Pairs", columns=("pair", "z", "open"), rows=[("KO/PEP", 1.5, True), ("A/B", None, False)]),
        Text(text="<script>alert(1)</script> stays text\x00"),
    )

    plain = json.loads(json.dumps(WIDGETS.dump_python(shown, mode="json"), allow_nan=False))

    assert [each["kind"] for each in plain] == ["metric", "metric", "line_chart", "line_chart", "table", "text"]
    assert plain[1]["value"] is None
    assert plain[5]["text"] == "<script>alert(1)</script> stays text�"
    assert plain[2]["lines"][0]["values"] == [60.0, None, 62.0]
    assert plain[2]["x"][0] == "2026-03-10T15:00:00Z"
    assert WIDGETS.validate_json(json.dumps(plain)) == shown


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: LineChart(title="a", x=TIMES, lines=(Line(name="KO", values=(1.0,)),)),
            "1 values for 3 points of x",
        ),
        (lambda: LineChart(title="a", x=TIMES, lines=()), "at least 1 item"),
        (lambda: LineChart(title="a", x=(datetime(2026, 3, 10),), lines=()), "should have timezone info"),  # noqa: DTZ001
        (lambda: Line(name="a", values=np.zeros(5_001)), "at most 5000 items"),
        (lambda: Table(title="a", columns=("x", "y"), rows=((1,),)), "row 0 has 1 cells for 2 columns"),
        (lambda: Table(title="a", columns=("x",), rows=[(1,)] * 501), "at most 500 items"),
        (lambda: Text(text="a" * 10_001), "at most 10000 characters"),
        (lambda: Metric(label="a", value=[1]), "valid"),
        (lambda: Metric(label="a", value=1, html="<b>"), "Extra inputs"),  # type: ignore[call-arg]
    ],
)
def test_what_does_not_fit_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make()


@given(st.lists(st.floats() | st.none() | st.integers(-5, 5), max_size=20))
def test_a_line_holds_finite_numbers_and_gaps_only(values: list[float | None]) -> None:
    held = Line(name="a", values=values).values

    assert len(held) == len(values)
    for told, kept in zip(values, held, strict=True):
        assert kept == (told if told is not None and math.isfinite(told) else None)
