"""Days as people say them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from src.services.data_ingestion.domain.windows import days_window
from src.shared.domain.errors import InputInvalid

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2025, 3, 4, 2, tzinfo=UTC)  # still the evening of the 3rd in New York


def window(first: date | None = None, last: date | None = None) -> tuple[datetime, datetime]:
    return days_window(first, last, NOW, 30, "SETTING")


def test_both_days_are_in_it() -> None:
    assert window(date(2025, 2, 3), date(2025, 2, 4)) == (
        datetime(2025, 2, 3, tzinfo=NEW_YORK),
        datetime(2025, 2, 5, tzinfo=NEW_YORK),
    )


def test_without_days_it_is_all_that_the_plan_has_up_to_now() -> None:
    assert window() == (datetime(2025, 2, 1, tzinfo=NEW_YORK), NOW)


def test_today_ends_now() -> None:
    assert window(date(2025, 3, 3), date(2025, 3, 3))[1] == NOW


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        (date(2025, 2, 4), date(2025, 2, 3), "comes after the last"),
        (date(2025, 3, 4), None, "still to come"),
        (date(2025, 1, 31), None, "SETTING=30"),
    ],
)
def test_what_cannot_be_had_is_one_line(first: date, last: date | None, why: str) -> None:
    with pytest.raises(InputInvalid, match=why):
        window(first, last)
