"""Moments as integers: microseconds since 1970 UTC, and their two spellings."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Turn an aware datetime into microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_datetime(micros: int) -> datetime:
    """Turn microseconds into an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=micros)


def iso_utc(micros: int | None) -> str | None:
    """Spell a moment as the order API does: `2025-03-03T14:30:00.000001Z`."""
    return None if micros is None else to_datetime(micros).isoformat().replace("+00:00", "Z")


def iso_new_york(micros: int) -> str:
    """Spell a moment as the clock API does, with New York's offset."""
    return to_datetime(micros).astimezone(NEW_YORK).isoformat()


def parse_moment(text: str) -> int:
    """Read an ISO date or date-time; without an offset it is UTC.

    Raises:
        ValueError: the text is neither.
    """
    # A client that leaves the + of +00:00 bare in a query has it decoded to a space.
    day, rest = text.strip()[:10], text.strip()[10:]
    moment = datetime.fromisoformat(day + rest[:1].replace(" ", "T") + rest[1:].replace(" ", "+"))
    return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def new_york_day(micros: int) -> date:
    """Return the New York date of a moment."""
    return to_datetime(micros).astimezone(NEW_YORK).date()
