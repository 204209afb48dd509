"""From when to when a load goes, in days as people say them."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from src.services.data_ingestion.domain.grid import Span
from src.shared.domain.errors import InputInvalid

_NEW_YORK = ZoneInfo("America/New_York")
_DAY = timedelta(days=1)


def days_window(first: date | None, last: date | None, now: datetime, history_days: int, setting: str) -> Span:
    """Turn days of New York, both included, into a span; none means all that the plan has, and up to now.

    Raises:
        InputInvalid: the days are reversed, still to come, or before what the plan has, as `setting` says.
    """
    today = now.astimezone(_NEW_YORK).date()
    oldest = today - history_days * _DAY
    begin, end = first or oldest, last or today
    if begin > today:
        raise InputInvalid(f"{begin} is still to come: today is {today}.")
    if end < begin:
        raise InputInvalid(f"the first day, {begin}, comes after the last one, {end}.")
    if begin < oldest:
        raise InputInvalid(
            f"{begin} is before {oldest}, the first day that your plan has by {setting}={history_days}."
        )
    return _midnight(begin), min(_midnight(end + _DAY), now)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), _NEW_YORK)
