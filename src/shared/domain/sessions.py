"""Market time by the exchange calendar: sessions, session-aligned hourly bars, slots.

An hourly bar starts at the session's open and every full hour after it; the last bar of a session ends with the
session, so on XNYS a full day has seven bars, 09:30 to 15:30, the last one of thirty minutes. A *slot* is the end
of a bar. Everything is UTC; holidays, half days and daylight saving come from the calendar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

BAR_LENGTH = timedelta(hours=1)


@dataclass(frozen=True)
class Session:
    """One trading day: its New York date and its open and close in UTC."""

    day: date
    open: datetime
    close: datetime

    def bar_spans(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield start and end of every hourly bar of the session, in order."""
        start = self.open
        while start < self.close:
            yield start, min(start + BAR_LENGTH, self.close)
            start += BAR_LENGTH


class TradingCalendar:
    """Sessions of one exchange between two dates."""

    def __init__(self, exchange: str = "XNYS", first: str = "2015-01-01", last: str = "2030-12-31") -> None:
        self._schedule = _schedule(exchange, first, last)
        self._days = [session.day for session in self._schedule]

    @property
    def first(self) -> datetime:
        """The open of the first session that is known."""
        return self._schedule[0].open

    def sessions(self, first: date, last: date) -> list[Session]:
        """List the sessions from `first` to `last`, both included."""
        from bisect import bisect_left, bisect_right

        return list(self._schedule[bisect_left(self._days, first) : bisect_right(self._days, last)])

    def days_around(self, day: date, count: int) -> tuple[date, date]:
        """Return the day of the session `count` before a day and that of the one after it; 0 is the day itself."""
        if count == 0:
            return day, day
        wide = timedelta(days=2 * count + 10)
        before = self.sessions(day - wide, day - timedelta(days=1))
        after = self.sessions(day + timedelta(days=1), day + wide)
        return before[-count].day, after[count - 1].day

    def session_at(self, moment: datetime) -> Session | None:
        """Return the session that is open at `moment` (open ≤ moment < close), if any."""
        near = self.sessions(moment.date() - timedelta(days=1), moment.date() + timedelta(days=1))
        return next((s for s in near if s.open <= moment < s.close), None)

    def spans_between(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """List (start, end) of the hourly bars that start at or after `start` and end at or before `end`."""
        near = self.sessions(start.date() - timedelta(days=1), end.date() + timedelta(days=1))
        return [span for s in near for span in s.bar_spans() if span[0] >= start and span[1] <= end]

    def slots_between(self, start: datetime, end: datetime) -> list[datetime]:
        """List the slots (ends of bars) in [start, end]."""
        near = self.sessions(start.date() - timedelta(days=1), end.date() + timedelta(days=1))
        return [stop for s in near for _, stop in s.bar_spans() if start <= stop <= end]

    def last_slot(self, moment: datetime) -> datetime:
        """Return the end of the last bar that is finished at `moment`.

        Raises:
            LookupError: the calendar holds no session in the two weeks before.
        """
        slots = self.slots_between(moment - timedelta(days=14), moment)
        if not slots:
            raise LookupError(f"no session in the two weeks before {moment.isoformat()}")
        return slots[-1]

    def last_spans(self, slot: datetime, count: int) -> list[tuple[datetime, datetime]]:
        """List (start, end) of the last `count` bars that end at or before `slot`, oldest first."""
        days_back = count // 4 + 14
        return self.spans_between(slot - timedelta(days=days_back), slot)[-count:]

    def bars_between_slots(self, earlier: datetime, later: datetime) -> int:
        """Count the bars of session time from one slot to another."""
        return max(0, len(self.slots_between(earlier, later)) - 1)


@lru_cache(maxsize=4)
def _schedule(exchange: str, first: str, last: str) -> tuple[Session, ...]:
    import exchange_calendars

    calendar: Any = exchange_calendars.get_calendar(exchange, start=first, end=last)
    frame = calendar.schedule
    return tuple(
        Session(day.date(), opened.to_pydatetime(), closed.to_pydatetime())
        for day, opened, closed in zip(frame.index, frame["open"], frame["close"], strict=True)
    )
