"""The bars that a time frame has by the exchange's calendar, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from src.shared.domain.bars import DAILY, HOURLY, Moments, as_datetime, as_moments
from src.shared.domain.sessions import Session, TradingCalendar

Ints = NDArray[np.intp]

BARS_A_SESSION: Final = {HOURLY: 7, DAILY: 1}
"""Bars of a full session by time frame; series of other time frames are not judged."""

_AHEAD = timedelta(days=7)


@dataclass(frozen=True)
class Timetable:
    """S bars in order: what the calendar knows from the first day asked for until a week after `now`.

    `starts` and `ends` have shape (S,) and dtype datetime64[us] in UTC; `sessions` numbers the trading days from 0;
    `day_before` is the place of the same hour one session earlier, −1 where that session has none; `finished` counts
    the bars that are over at `now`.
    """

    timeframe: str
    now: np.datetime64
    starts: Moments
    ends: Moments
    sessions: Ints
    day_before: Ints
    finished: int

    @property
    def bars_a_session(self) -> int:
        """Count the bars of a full session."""
        return BARS_A_SESSION[self.timeframe]


def make_timetable(calendar: TradingCalendar, timeframe: str, first: date, now: datetime) -> Timetable:
    """Lay out the sessions from `first` on; half days, holidays and summer time are the calendar's."""
    sessions = calendar.sessions(first, (now + _AHEAD).date())
    spans = [_spans(session, timeframe) for session in sessions]
    lengths = np.array([len(each) for each in spans], dtype=np.intp)
    starts = as_moments([start for each in spans for start, _ in each])
    ends = as_moments([end for each in spans for _, end in each])
    moment = as_moments([now])[0]
    finished = int(np.searchsorted(ends, moment, side="right"))
    return Timetable(
        timeframe, moment, starts, ends, np.repeat(np.arange(len(spans)), lengths), _before(lengths), finished
    )


def shown(moment: np.datetime64) -> str:
    """Write a time to the minute."""
    return f"{as_datetime(moment):%Y-%m-%d %H:%M}Z"


def _spans(session: Session, timeframe: str) -> list[tuple[datetime, datetime]]:
    return list(session.bar_spans()) if timeframe == HOURLY else [(session.open, session.close)]


def _before(lengths: Ints) -> Ints:
    """Point from every bar to the one of the same hour in the session before."""
    begins = np.cumsum(lengths) - lengths
    hours = np.arange(lengths.sum()) - np.repeat(begins, lengths)
    earlier = np.roll(lengths, 1)
    earlier[:1] = 0
    there = hours < np.repeat(earlier, lengths)
    found: Ints = np.where(there, np.repeat(np.roll(begins, 1), lengths) + hours, -1)
    return found
