"""Bars as arrays on the half-hour grid, and the coarser series made of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.services.twin.domain.moments import NEW_YORK, SECOND, to_datetime, to_micros
from src.services.twin.domain.sessions import Sessions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HOUR = 3600 * SECOND
TIMEFRAMES = ("30Min", "1Hour", "1Day")
SESSION_HOUR = "SessionHour"
"""Hours that count from the open, the last one shorter: what vendors other than Alpaca call an hour."""


@dataclass(frozen=True, slots=True)
class HalfHours:
    """One symbol's bars on consecutive slots; NaN where there is none. Every array has shape (slots,)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@dataclass(frozen=True, slots=True)
class Bar:
    """One half-hour bar."""

    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Series:
    """Finished-bar lookup of one symbol at one timeframe; columns are plain lists, ready for JSON."""

    start: list[int]
    end: list[int]
    rows: list[dict[str, Any]]

    def window(self, start: int, end: int, now: int) -> list[dict[str, Any]]:
        """Return the bars with start ≤ t ≤ end that are finished at `now`, oldest first."""
        stop = min(bisect_right(self.start, end), self.finished(now))
        return self.rows[bisect_right(self.start, start - 1) : stop]

    def finished(self, now: int) -> int:
        """Count the bars that have ended by `now`."""
        return bisect_right(self.end, now)

    def places(self, start: int, end: int, now: int) -> range:
        """Say which bars start in [start, end) and are finished at `now`."""
        return range(bisect_left(self.start, start), min(bisect_left(self.start, end), self.finished(now)))


class Market:
    """Prices of all symbols on the slots `first_slot …` of the calendar.

    Args:
        sessions: the calendar the slots belong to.
        first_slot: slot of element 0 of every array.
        bars: per symbol, arrays of one common length.
        truth: what the synthetic generator knows about its pairs; empty for a file.
    """

    def __init__(
        self,
        sessions: Sessions,
        first_slot: int,
        bars: dict[str, HalfHours],
        *,
        names: dict[str, str] | None = None,
        truth: list[dict[str, Any]] | None = None,
        source: str = "file",
    ) -> None:
        self.sessions = sessions
        self.names = names or {}
        self.truth = truth or []
        self.source = source
        self._first_slot = first_slot
        self._length = len(next(iter(bars.values())).close)
        self._original = dict(bars)
        self._start_over()

    def _start_over(self) -> None:
        self.symbols = sorted(self._original)
        self._bars = dict(self._original)
        self._present = {s: _present(b) for s, b in self._bars.items()}
        self._splits: dict[str, list[tuple[int, float]]] = {}
        self._series: dict[tuple[str, str, bool], Series] = {}

    def forget_actions(self) -> None:
        """Undo every split and every new name."""
        self._start_over()

    def split(self, symbol: str, slot: int, factor: float) -> None:
        """Multiply the symbol's prices by `factor` from a slot on; earlier bars stay as they were traded."""
        i = slot - self._first_slot
        self._bars[symbol] = _scaled_from(self._bars[symbol], i, factor)
        self._splits.setdefault(symbol, []).append((slot, factor))
        self._forget_series(symbol)

    def rename(self, old: str, new: str, slot: int) -> None:
        """Carry a symbol's bars on under a new name, which also gets its history; the old name ends at the slot."""
        i = slot - self._first_slot
        whole = self._bars[old]
        self._bars[new], self._bars[old] = whole, _cut_at(whole, i)
        for symbol in (old, new):
            self._present[symbol] = _present(self._bars[symbol])
            self._forget_series(symbol)
        self._splits[new] = list(self._splits.get(old, []))
        self.names[new] = self.names.get(old, old)
        self.symbols = sorted(self._bars)

    def _forget_series(self, symbol: str) -> None:
        self._series = {key: series for key, series in self._series.items() if key[0] != symbol}

    def _scale(self, symbol: str, slots: Ints) -> Floats:
        """What prices of these slots are multiplied by to stand on today's basis; shape (slots,)."""
        scale = np.ones(len(slots))
        for slot, factor in self._splits.get(symbol, ()):
            scale[slots < slot] *= factor
        return scale

    def symbol_span(self, symbol: str) -> tuple[int, int]:
        """Return start of the first and end of the last bar of one symbol."""
        present = self._present[symbol]
        start, _ = self.sessions.slot_span(self._first_slot + present[0])
        _, end = self.sessions.slot_span(self._first_slot + present[-1])
        return start, end

    @property
    def span(self) -> tuple[int, int]:
        """Start of the first and end of the last slot that has data."""
        start, _ = self.sessions.slot_span(self._first_slot)
        _, end = self.sessions.slot_span(self._first_slot + self._length - 1)
        return start, end

    def bar(self, symbol: str, slot: int) -> Bar | None:
        """Return the symbol's bar of a slot, or None in a gap."""
        i = slot - self._first_slot
        arrays = self._bars[symbol]
        if not 0 <= i < self._length or np.isnan(arrays.close[i]):
            return None
        return Bar(float(arrays.open[i]), float(arrays.high[i]), float(arrays.low[i]), float(arrays.close[i]))

    def price(self, symbol: str, now: int) -> float | None:
        """Return the open of the bar in progress, else the close of the last finished bar."""
        slot = self.sessions.slot_at(now)
        running = self.bar(symbol, slot) if slot is not None else None
        return running.open if running else self.last_close(symbol, self.sessions.finished_slots(now))

    def last_close(self, symbol: str, finished_slots: int) -> float | None:
        """Return the close of the last bar among the first `finished_slots` slots, on today's basis of shares."""
        present = self._present[symbol]
        i = bisect_right(present, finished_slots - 1 - self._first_slot) - 1
        if i < 0:
            return None
        slot = np.array([present[i] + self._first_slot], dtype=np.int64)
        return float(self._bars[symbol].close[present[i]] * self._scale(symbol, slot)[0])

    def series(self, symbol: str, timeframe: str, *, adjusted: bool = False) -> Series:
        """Return the bars of a symbol at `30Min`, `1Hour` (clock hours), `SessionHour` or `1Day`.

        They are as traded, or adjusted for splits.
        """
        key = (symbol, timeframe, adjusted)
        if key not in self._series:
            self._series[key] = self._make_series(*key)
        return self._series[key]

    def _make_series(self, symbol: str, timeframe: str, adjusted: bool) -> Series:
        index = np.array(self._present[symbol], dtype=np.int64)
        slots = index + self._first_slot
        key, start, end = self._groups(slots, timeframe)
        first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        bars = self._bars[symbol]
        if adjusted and symbol in self._splits:
            scale = self._scale(symbol, np.arange(self._length) + self._first_slot)
            bars = _scaled(bars, scale)
        return _aggregate(bars, index, first, start[first], end[first])

    def _groups(self, slots: Ints, timeframe: str) -> tuple[Ints, Ints, Ints]:
        start, end = self.sessions.start[slots], self.sessions.end[slots]
        if timeframe == "30Min":
            return start, start, end
        if timeframe == "1Hour":
            hour = start - start % HOUR  # New York is a whole number of hours from UTC
            return hour, hour, hour + HOUR
        session = self.sessions.session_of[slots]
        if timeframe == SESSION_HOUR:
            return self._session_hours(slots, session)
        opens, inverse = np.unique(session, return_inverse=True)
        days = [self.sessions.all[i] for i in opens.tolist()]
        midnight = np.array([_midnight(day.open) for day in days], dtype=np.int64)
        closes = np.array([day.close for day in days], dtype=np.int64)
        return session, midnight[inverse], closes[inverse]

    def _session_hours(self, slots: Ints, session: Ints) -> tuple[Ints, Ints, Ints]:
        days = [self.sessions.all[i] for i in session.tolist()]
        opens = np.array([day.open for day in days], dtype=np.int64)
        closes = np.array([day.close for day in days], dtype=np.int64)
        start = opens + (self.sessions.start[slots] - opens) // HOUR * HOUR
        return start, start, np.minimum(start + HOUR, closes)


def _present(bars: HalfHours) -> list[int]:
    found: list[int] = np.flatnonzero(~np.isnan(bars.close)).tolist()
    return found


def _scaled_from(bars: HalfHours, i: int, factor: float) -> HalfHours:
    scale = np.ones(len(bars.close))
    scale[max(i, 0) :] = factor
    return _scaled(bars, scale)


def _scaled(bars: HalfHours, scale: Floats) -> HalfHours:
    def priced(column: Floats) -> Floats:
        return np.where(scale == 1.0, column, np.round(column * scale, 4))

    volume = np.round(bars.volume / scale)
    return HalfHours(priced(bars.open), priced(bars.high), priced(bars.low), priced(bars.close), volume)


def _cut_at(bars: HalfHours, i: int) -> HalfHours:
    kept = np.arange(len(bars.close)) < i
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return HalfHours(*(np.where(kept, column, np.nan) for column in columns))


def _midnight(moment: int) -> int:
    local = to_datetime(moment).astimezone(NEW_YORK)
    return to_micros(local.replace(hour=0, minute=0, second=0, microsecond=0))


def _aggregate(bars: HalfHours, index: Ints, first: Ints, start: Ints, end: Ints) -> Series:
    last = np.concatenate((first[1:], [len(index)])) - 1
    high = np.maximum.reduceat(bars.high[index], first)
    low = np.minimum.reduceat(bars.low[index], first)
    close = bars.close[index][last]
    volume = np.add.reduceat(bars.volume[index], first)
    typical = np.round((high + low + close) / 3, 4)
    stamps = [f"{text}Z" for text in np.datetime_as_string(start.astype("datetime64[us]"), unit="s").tolist()]
    columns = (bars.open[index][first], high, low, close, volume, typical)
    rows = [
        {"t": t, "o": o, "h": h, "l": lo, "c": c, "v": int(v), "n": int(v) // 100, "vw": vw}
        for t, o, h, lo, c, v, vw in zip(stamps, *(column.tolist() for column in columns), strict=True)
    ]
    return Series(start.tolist(), end.tolist(), rows)
