"""Days and moments as people type them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.shared.domain.days import parse_day, parse_moment
from src.shared.domain.errors import InputInvalid

ENDS_OF_TIME = ["0001-01-01", "9999-12-31", "1899-12-31", "2200-01-01"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-03", datetime(2025, 3, 3, tzinfo=UTC)),
        ("2025-03-03T15:30", datetime(2025, 3, 3, 15, 30, tzinfo=UTC)),
        ("2025-03-03T15:30-05:00", datetime(2025, 3, 3, 20, 30, tzinfo=UTC)),
        ("1900-01-01T00:00+14:00", datetime(1899, 12, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_utc_whatever_zone_it_is_typed_in(text: str, moment: datetime) -> None:
    read = parse_moment("--since", text)

    assert (read, read.tzinfo) == (moment, UTC)


def test_a_day_is_read_as_it_is_written() -> None:
    assert parse_day("--day", "2025-03-03") == date(2025, 3, 3)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((parse, text) for parse in (parse_day, parse_moment) for text in ENDS_OF_TIME),
        (parse_moment, "0001-01-01T00:00+14:00"),
        (parse_moment, "9999-12-31T23:59:59+00:00"),
        (parse_moment, "9999-12-31T23:59-12:00"),
    ],
)
def test_a_day_at_the_end_of_time_is_refused(parse: Callable[[str, str], object], text: str) -> None:
    with pytest.raises(InputInvalid, match=r"^--from '.*' is too far away: write a year from 1900 to 2199\.$"):
        parse("--from", text)


@given(text=st.text(max_size=20) | st.datetimes(timezones=st.timezones()).map(str) | st.dates().map(str))
@example("2025-03-03T15:30+23:59:59.999999")
@example("gr\udcf6sser")
def test_whatever_is_typed_for_a_day_is_read_or_refused(text: str) -> None:
    for parse in (parse_day, parse_moment):
        try:
            parse("--from", text)
        except InputInvalid as refused:
            assert str(refused).startswith("--from ")
