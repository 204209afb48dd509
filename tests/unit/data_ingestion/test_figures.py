from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.data_ingestion.domain.figures import LARGEST, NotAFigure, day, figure, whole, words

finite = st.floats(min_value=-1e15, max_value=1e15, allow_nan=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["raw", "fmt", "x"]), inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0.123, 0.123),
        (7, 7.0),
        ("12.3%", 0.123),
        ("-0.5 %", -0.005),
        ("1,234,567.5", 1234567.5),
        ("3.76T", 3.76e12),
        ("2.5M", 2.5e6),
        ("812k", 812e3),
        ("(3.4B)", -3.4e9),
        ("$12.50", 12.5),
        ("+1e3", 1000.0),
        (".5", 0.5),
        ({"raw": 1.5, "fmt": "9"}, 1.5),
        ({"raw": None, "fmt": "12.3%"}, 0.123),
        ({"raw": {"raw": 3}}, 3.0),
    ],
)
def test_a_number_is_read_however_it_is_written(written: Any, meant: float) -> None:
    assert figure(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        " ",
        "N/A",
        "n/a",
        "-",
        "--",
        "∞",
        "Infinity",
        "-Infinity",
        "NaN",
        math.inf,
        -math.inf,
        math.nan,
        {},
        {"raw": None},
        {"raw": math.nan, "fmt": "1"},
        {"fmt": "N/A"},
        {"raw": "Infinity", "fmt": "∞"},
        "1e999",
    ],
)
def test_no_number_and_an_endless_one_are_nothing(written: Any) -> None:
    assert figure(written) is None


@pytest.mark.parametrize(
    "written", ["see note 4", "1.2.3", "12 apples", "1,23", True, [1], {"raw": [1]}, 1e19, 10**400]
)
def test_what_is_no_number_is_said_to_be_none(written: Any) -> None:
    with pytest.raises(NotAFigure):
        figure(written)


@given(anything)
def test_whatever_comes_is_a_finite_number_or_nothing_or_refused(value: Any) -> None:
    try:
        read = figure(value)
    except NotAFigure:
        return
    assert read is None or (math.isfinite(read) and abs(read) <= LARGEST)


@given(finite)
def test_a_number_survives_being_written_as_text_or_in_a_pair(number: float) -> None:
    assert figure(repr(number)) == figure({"raw": number, "fmt": "x"}) == figure(number) == number


@given(st.decimals(min_value=-10_000, max_value=10_000, places=4))
def test_a_per_cent_is_a_hundredth(number: Any) -> None:
    assert figure(f"{number}%") == pytest.approx(float(number) / 100, rel=1e-12, abs=1e-15)


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_thousands_may_be_set_apart(number: int) -> None:
    assert figure(f"{number:,}") == number == whole(f"{number:,}")


def test_a_count_is_whole() -> None:
    assert whole({"raw": 164000, "fmt": "164k"}) == 164000
    assert whole(None) is None
    with pytest.raises(NotAFigure, match="not whole"):
        whole(1.5)


@given(st.dates(min_value=date(1970, 1, 1), max_value=date(2199, 12, 31)))
def test_a_day_is_read_as_text_and_as_seconds(one: date) -> None:
    seconds = int(datetime(one.year, one.month, one.day, tzinfo=UTC).timestamp())

    assert day(one.isoformat()) == day(seconds) == day({"raw": seconds, "fmt": one.isoformat()}) == one


@pytest.mark.parametrize("written", ["2025-02-30", "yesterday", 1e17, -9e12, {"raw": "soon"}])
def test_what_is_no_day_is_said_to_be_none(written: Any) -> None:
    with pytest.raises(NotAFigure):
        day(written)


@given(anything)
def test_whatever_comes_is_a_day_or_nothing_or_refused(value: Any) -> None:
    try:
        read = day(value)
    except NotAFigure:
        return
    assert read is None or date(1900, 1, 1) <= read < date(2200, 1, 1)


@given(anything)
def test_a_text_has_no_edges_and_nothing_that_postgresql_refuses(value: Any) -> None:
    read = words(value)

    assert read is None or (read == read.strip() != "" and "\x00" not in read)
