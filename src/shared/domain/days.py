"""Days and moments as people type them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeVar

from src.shared.domain.errors import InputInvalid

FIRST_YEAR, LAST_YEAR = 1900, 2199
"""No market is asked about outside of them; a day at an end of the calendar has none before, or after, it."""

_Day = TypeVar("_Day", bound=date)


def parse_day(option: str, text: str) -> date:
    """Read a day such as 2025-01-31.

    Raises:
        InputInvalid: it is none, or too far away; `option` is what the person has typed it for.
    """
    return _parsed(date.fromisoformat, option, text, "day: write it like 2025-01-31")


def parse_moment(option: str, text: str) -> datetime:
    """Read a day, or a time such as 2025-01-31T15:30, as a moment in UTC; a time without a zone is UTC.

    Raises:
        InputInvalid: it is neither, or too far away; `option` is what the person has typed it for.
    """
    moment = _parsed(datetime.fromisoformat, option, text, "time: write it like 2025-01-31 or 2025-01-31T15:30")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parsed(read: Callable[[str], _Day], option: str, text: str, what: str) -> _Day:
    """Read it, and check its year before it is put on UTC, which no calendar reaches from its ends."""
    try:
        day = read(text)
    except ValueError:
        raise InputInvalid(f"{option} {text!r} is no {what}.") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise InputInvalid(f"{option} {text!r} is too far away: write a year from {FIRST_YEAR} to {LAST_YEAR}.")
    return day
