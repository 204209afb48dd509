"""The exchange's sessions and their half-hour slots, straight from exchange_calendars."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.services.twin.domain.moments import SECOND

Micros = NDArray[np.int64]
HALF_HOUR = 1800 * SECOND


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: New York date, open and close in microseconds, its slots `[first, last]`."""

    day: date
    open: int
    close: int
    first_slot: int
    last_slot: int


class Sessions:
    """All sessions of a span of years, cut into slots of thirty minutes from the open.

    Attributes:
        start, end: microseconds, shape (slots,); `session_of` maps a slot to its session's index.
    """

    def __init__(self, first_year: int = 2015, last_year: int = 2030) -> None:
        days, opens, closes = _schedule(first_year, last_year)
        counts = -(-(closes - opens) // HALF_HOUR)
        self.session_of: NDArray[np.int64] = np.repeat(np.arange(len(days)), counts)
        first = np.concatenate(([0], np.cumsum(counts)[:-1]))
        within = np.arange(counts.sum()) - first[self.session_of]
        self.start: Micros = opens[self.session_of] + within * HALF_HOUR
        self.end: Micros = np.minimum(self.start + HALF_HOUR, closes[self.session_of])
        self.all = [
            Session(day, int(o), int(c), int(f), int(f + n - 1))
            for day, o, c, f, n in zip(days, opens, closes, first, counts, strict=True)
        ]
        self._days = days
        self._opens = opens.tolist()
        self._closes = closes.tolist()
        self._starts = self.start.tolist()
        self._ends = self.end.tolist()

    def between(self, first: date, last: date) -> list[Session]:
        """List the sessions from `first` to `last`, both included."""
        return self.all[bisect_left(self._days, first) : bisect_right(self._days, last)]

    def open_at(self, now: int) -> Session | None:
        """Return the session with open ≤ now < close."""
        i = bisect_right(self._opens, now) - 1
        return self.all[i] if i >= 0 and now < self._closes[i] else None

    def next_open(self, now: int) -> Session:
        """Return the first session that opens after `now`."""
        return self.all[bisect_right(self._opens, now)]

    def next_close(self, now: int) -> Session:
        """Return the first session that closes after `now`."""
        return self.all[bisect_right(self._closes, now)]

    def slot_at(self, now: int) -> int | None:
        """Return the slot with start ≤ now < end."""
        i = bisect_right(self._starts, now) - 1
        return i if i >= 0 and now < self._ends[i] else None

    def slots_touching(self, after: int, until: int) -> range:
        """Return the slots that end after `after` and start at or before `until`."""
        return range(bisect_right(self._ends, after), bisect_right(self._starts, until))

    def finished_slots(self, now: int) -> int:
        """Count the slots that have ended by `now`."""
        return bisect_right(self._ends, now)

    def slot_span(self, slot: int) -> tuple[int, int]:
        """Return start and end of a slot."""
        return self._starts[slot], self._ends[slot]

    def covers(self, now: int) -> bool:
        """Tell whether the calendar knows the sessions around `now`."""
        return bool(self._opens[0] <= now < self._opens[-10])


@lru_cache(maxsize=4)
def _schedule(first_year: int, last_year: int) -> tuple[list[date], Micros, Micros]:
    import exchange_calendars

    calendar: Any = exchange_calendars.get_calendar("XNYS", start=f"{first_year}-01-01", end=f"{last_year}-12-31")
    schedule = calendar.schedule
    return (
        [label.date() for label in schedule.index],
        schedule["open"].to_numpy(dtype="datetime64[us]").astype(np.int64),
        schedule["close"].to_numpy(dtype="datetime64[us]").astype(np.int64),
    )
