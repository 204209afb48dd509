"""The gate for single rows: a bar is good, or it is rejected with a reason. Nothing is repaired.

Everything is judged in columns; a Python object is made for a rejected row only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.services.data_ingestion.domain.grid import Grid
from src.shared.domain.bars import BarColumns, Floats, as_datetime, as_moments

LARGEST_PRICE = 1e9
LARGEST_VOLUME = 1e15
NEIGHBOURS = 3

Flaws = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Flaw(IntEnum):
    """What is wrong with a row; the first that applies is the one it is rejected for."""

    NONE = 0
    FUTURE = 1
    UNFINISHED = 2
    MISALIGNED = 3
    NOT_FINITE = 4
    NOT_POSITIVE = 5
    TOO_LARGE = 6
    VOLUME_BOUNDS = 7
    HIGH_BELOW_LOW = 8
    OPEN_OUTSIDE = 9
    CLOSE_OUTSIDE = 10
    DUPLICATE = 11
    SPIKE = 12
    ROW_MISALIGNED = 13
    ROW_TWICE = 14
    ROWS_DIFFER = 15
    FIRST_HALF_MISSING = 16
    SECOND_HALF_MISSING = 17

    @property
    def rule(self) -> str:
        """The name that a rejected row is filed under."""
        return self.name.lower()

    @property
    def reason(self) -> str:
        """The same in words."""
        return _REASONS[self]


_REASONS = {
    Flaw.NONE: "nothing is wrong",
    Flaw.FUTURE: "from the future",
    Flaw.UNFINISHED: "not finished",
    Flaw.MISALIGNED: "misaligned",
    Flaw.NOT_FINITE: "a number is missing or not finite",
    Flaw.NOT_POSITIVE: "a price is not above zero",
    Flaw.TOO_LARGE: "a price is too large",
    Flaw.VOLUME_BOUNDS: "the volume is out of bounds",
    Flaw.HIGH_BELOW_LOW: "high is below low",
    Flaw.OPEN_OUTSIDE: "open is outside low and high",
    Flaw.CLOSE_OUTSIDE: "close is outside low and high",
    Flaw.DUPLICATE: "duplicate",
    Flaw.SPIKE: "spike against its neighbours",
    Flaw.ROW_MISALIGNED: "a row is misaligned",
    Flaw.ROW_TWICE: "a row is there twice",
    Flaw.ROWS_DIFFER: "two rows for one bar differ",
    Flaw.FIRST_HALF_MISSING: "the first half hour is missing",
    Flaw.SECOND_HALF_MISSING: "the second half hour is missing",
}


@dataclass(frozen=True)
class Rejection:
    """A bar that is not stored: whose, the end of its time, why, and the vendor's rows as they came."""

    symbol: str
    end: datetime
    flaw: Flaw
    raw: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)

    @property
    def reason(self) -> str:
        """Why, in words."""
        return self.flaw.reason

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.symbol} {self.end:%Y-%m-%d %H:%MZ}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the gate let through, oldest first, and what not."""

    accepted: BarColumns
    rejected: tuple[Rejection, ...]


def judge(bars: BarColumns, grid: Grid, closes_before: Floats, now: datetime, spike_ratio: float) -> Verdict:
    """Judge the bars of one symbol.

    `grid` holds the spans that a bar may have, `closes_before` the good closes that precede the first bar, oldest
    first, `now` the broker's time. A bar whose high or low is more than `spike_ratio` times away from most of up to
    three closes on either side is a spike; of two bars alone that disagree neither is believed.
    """
    flaws = _row_flaws(bars, grid, now)
    sound = np.flatnonzero(flaws == Flaw.NONE)
    sound = sound[np.argsort(bars.end[sound], kind="stable")]
    again = np.zeros(len(sound), dtype=bool)
    again[1:] = bars.end[sound][1:] == bars.end[sound][:-1]
    flaws[sound[again]] = Flaw.DUPLICATE
    sound = sound[~again]
    spikes = _spikes(bars.take(sound), closes_before, spike_ratio)
    flaws[sound[spikes]] = Flaw.SPIKE
    rejected = tuple(_rejection(bars, flaws, i) for i in np.flatnonzero(flaws).tolist())
    return Verdict(bars.take(sound[~spikes]), rejected)


def price_flaws(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> Flaws:
    """Say of N rows what is wrong with their numbers, if anything."""
    flaws = np.zeros(len(open_), dtype=np.uint8)
    # A comparison with NaN is false, so that what is not finite fails here too.
    good = (low > 0) & (high < LARGEST_PRICE) & (volume >= 0) & (volume < LARGEST_VOLUME)
    good &= (low <= open_) & (open_ <= high) & (low <= close) & (close <= high)
    bad = np.flatnonzero(~good)
    if len(bad):
        flaws[bad] = _numbers_flaws(*(column[bad] for column in (open_, high, low, close, volume)))
    return flaws


def raw_row(start: np.datetime64, numbers: Mapping[str, float]) -> dict[str, Any]:
    """Write a row as JSON can hold it: what is not finite goes in as text."""
    row: dict[str, Any] = {"start": f"{as_datetime(start):%Y-%m-%dT%H:%M:%SZ}"}
    return row | {name: value if np.isfinite(value) else str(value) for name, value in numbers.items()}


def _numbers_flaws(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> Flaws:
    prices = np.stack((open_, high, low, close))
    checks = (
        (~np.isfinite(prices).all(axis=0) | ~np.isfinite(volume), Flaw.NOT_FINITE),
        (prices.min(axis=0) <= 0, Flaw.NOT_POSITIVE),
        (prices.max(axis=0) >= LARGEST_PRICE, Flaw.TOO_LARGE),
        (~((volume >= 0) & (volume < LARGEST_VOLUME)), Flaw.VOLUME_BOUNDS),
        (high < low, Flaw.HIGH_BELOW_LOW),
        ((open_ < low) | (open_ > high), Flaw.OPEN_OUTSIDE),
        ((close < low) | (close > high), Flaw.CLOSE_OUTSIDE),
    )
    return np.select([wrong for wrong, _ in checks], [flaw.value for _, flaw in checks]).astype(np.uint8)


def _row_flaws(bars: BarColumns, grid: Grid, now: datetime) -> Flaws:
    flaws = price_flaws(bars.open, bars.high, bars.low, bars.close, bars.volume)
    (moment,) = as_moments([now])
    flaws[~grid.holds(bars.start, bars.end)] = Flaw.MISALIGNED
    flaws[bars.end > moment] = Flaw.UNFINISHED
    flaws[bars.start >= moment] = Flaw.FUTURE
    return flaws


def _spikes(bars: BarColumns, closes_before: Floats, ratio: float) -> Mask:
    before = closes_before[-NEIGHBOURS:]
    closes = np.concatenate((before, bars.close))
    around = np.zeros(len(bars), dtype=np.int8)
    far = np.zeros(len(bars), dtype=np.int8)
    for distance in (*range(-NEIGHBOURS, 0), *range(1, NEIGHBOURS + 1)):
        # Of the bar at place i the neighbour stands at i + distance among the closes.
        first = max(0, -distance - len(before))
        last = min(len(bars), len(bars) - distance)
        if first >= last:
            continue
        near = closes[len(before) + distance + first : len(before) + distance + last]
        around[first:last] += 1
        far[first:last] += (bars.high[first:last] > near * ratio) | (bars.low[first:last] < near / ratio)
    spikes: Mask = 2 * far > around
    return spikes


def _rejection(bars: BarColumns, flaws: Flaws, i: int) -> Rejection:
    numbers = {name: float(getattr(bars, name)[i]) for name in ("open", "high", "low", "close", "volume")}
    raw = raw_row(bars.start[i], numbers)
    return Rejection(bars.symbol, as_datetime(bars.end[i]), Flaw(int(flaws[i])), (raw,))
