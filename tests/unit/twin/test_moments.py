from __future__ import annotations

import pytest

from src.services.twin.domain.moments import iso_new_york, iso_utc, parse_moment


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-03T15:30:00Z",
        "2025-03-03T15:30:00+00:00",
        "2025-03-03T15:30:00 00:00",
        "2025-03-03 15:30:00+00:00",
        "2025-03-03T15:30:00.000000000Z",
        "2025-03-03T10:30:00-05:00",
        "2025-03-03T15:30:00",
    ],
)
def test_a_moment_is_read_in_every_spelling_clients_use(text: str) -> None:
    assert iso_utc(parse_moment(text)) == "2025-03-03T15:30:00Z"


def test_new_york_has_its_summer() -> None:
    assert iso_new_york(parse_moment("2025-03-07T15:30:00Z")) == "2025-03-07T10:30:00-05:00"
    assert iso_new_york(parse_moment("2025-03-10T15:30:00Z")) == "2025-03-10T11:30:00-04:00"


def test_a_text_that_is_no_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        parse_moment("nonsense")
