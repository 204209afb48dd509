"""Bars from outside put on the half-hour grid: finer ones are added up, session-aligned hours are split.

An hour is split so that its first half knows nothing of its second: the first half stands still at the hour's
open, the second holds the hour's high, low and close. Adding the two up gives the hour back exactly. Hours on the
clock (10:00 New York) and days can't be split without telling the future, and are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.services.twin.domain.errors import BarFileInvalid
from src.services.twin.domain.market import Floats, HalfHours, Ints
from src.services.twin.domain.moments import SECOND, iso_utc
from src.services.twin.domain.sessions import HALF_HOUR, Sessions

MINUTE = 60 * SECOND
FINE_MINUTES = (5, 10, 15, 30)


@dataclass(frozen=True, slots=True)
class RawBars:
    """One symbol's bars as they were read, by time; every array has shape (bars,), `start` in microseconds."""

    start: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def at(self, index: Ints | np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> RawBars:
        """Return some of the bars."""
        columns = (self.start, self.open, self.high, self.low, self.close, self.volume)
        return RawBars(*(column[index] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Placed:
    bars: RawBars
    slot: Ints
    session: Ints
    offset: Ints


def grid_bars(sessions: Sessions, raw: dict[str, RawBars]) -> tuple[int, dict[str, HalfHours]]:
    """Put every symbol on one grid of half hours; pre- and post-market bars are left out.

    Returns:
        The first slot, and the arrays per symbol.

    Raises:
        BarFileInvalid: nothing lies in a session, or the spacing can't be served.
    """
    placed = {symbol: _place(sessions, bars) for symbol, bars in raw.items()}
    empty = next((symbol for symbol, p in placed.items() if not len(p.slot)), None)
    if empty:
        raise BarFileInvalid(
            f"{empty} has no bar inside a regular session: timestamps must be UTC starts of intraday bars "
            "(daily bars can't be served)"
        )
    minutes = {symbol: _resolution(symbol, p) for symbol, p in placed.items()}
    finest = min(minutes.values())
    for symbol, p in placed.items():
        _check_alignment(symbol, p, finest)
    first = min(int(p.slot[0]) for p in placed.values())
    last = max(int(sessions.all[int(p.session[-1])].last_slot) for p in placed.values())
    return first, {s: half_hours(sessions, p.bars, finest, first, last - first + 1) for s, p in placed.items()}


def half_hours(sessions: Sessions, bars: RawBars, minutes: int, first: int, count: int) -> HalfHours:
    """Turn in-session bars of a resolution into half hours on the slots `first … first + count - 1`."""
    if minutes == 60:
        bars = split_hours(sessions, bars)
    slot = _slots(sessions, bars.start) - first
    starts = np.flatnonzero(np.concatenate(([True], slot[1:] != slot[:-1])))
    ends = np.concatenate((starts[1:], [len(slot)])) - 1
    columns = (
        bars.open[starts],
        np.maximum.reduceat(bars.high, starts),
        np.minimum.reduceat(bars.low, starts),
        bars.close[ends],
        np.add.reduceat(bars.volume, starts),
    )
    return HalfHours(*(_spread_out(column, slot[starts], count) for column in columns))


def split_hours(sessions: Sessions, hours: RawBars) -> RawBars:
    """Split every session-aligned hour in two; the half hour that ends a session stays one."""
    session = np.searchsorted([s.open for s in sessions.all], hours.start, side="right") - 1
    closes = np.array([s.close for s in sessions.all], dtype=np.int64)[session]
    whole = np.flatnonzero(hours.start + HALF_HOUR < closes)
    head = hours.at(whole)
    half = np.floor(head.volume / 2)
    first = RawBars(head.start, head.open, head.open, head.open, head.open, half)
    start, volume = hours.start.copy(), hours.volume.copy()
    start[whole] += HALF_HOUR
    volume[whole] -= half
    second = RawBars(start, hours.open, hours.high, hours.low, hours.close, volume)
    both = [np.concatenate((getattr(first, n), getattr(second, n))) for n in RawBars.__slots__]
    return RawBars(*both).at(np.argsort(both[0], kind="stable"))


def _place(sessions: Sessions, bars: RawBars) -> _Placed:
    slot = _slots(sessions, bars.start)
    inside = (slot >= 0) & (bars.start < sessions.end[slot])
    slot = slot[inside]
    session = sessions.session_of[slot]
    opens = np.array([s.open for s in sessions.all], dtype=np.int64)
    kept = bars.at(inside)
    return _Placed(kept, slot, session, kept.start - opens[session])


def _slots(sessions: Sessions, start: Ints) -> Ints:
    return np.searchsorted(sessions.start, start, side="right") - 1


def _resolution(symbol: str, placed: _Placed) -> int:
    same_session = placed.session[1:] == placed.session[:-1]
    gaps = np.diff(placed.bars.start)[same_session]
    if not len(gaps):
        raise BarFileInvalid(f"{symbol} has one bar per session: daily bars can't be served, use 60 minutes or finer")
    minutes = int(gaps.min()) // MINUTE
    if minutes not in (*FINE_MINUTES, 60):
        raise BarFileInvalid(f"{symbol} has bars every {minutes} minutes: use 5, 10, 15, 30 or 60 minutes")
    return minutes


def _check_alignment(symbol: str, placed: _Placed, minutes: int) -> None:
    wrong = np.flatnonzero(placed.offset % (minutes * MINUTE))
    if len(wrong):
        moment = iso_utc(int(placed.bars.start[wrong[0]]))
        why = " (splitting clock hours would tell the future)" if minutes == 60 else ""
        raise BarFileInvalid(
            f"{symbol} {moment} does not start a whole number of {minutes} minutes after the session's open{why}: "
            "build the bars from 09:30 New York"
        )


def _spread_out(column: Floats, slot: Ints, count: int) -> Floats:
    out = np.full(count, np.nan)
    out[slot] = column
    return out
