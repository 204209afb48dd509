"""The quality gate: a bar is good, or it is rejected with a reason. Nothing is repaired."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from src.shared.domain.bars import Bar

LARGEST_PRICE = 1e9
LARGEST_VOLUME = 1e15
NEIGHBOURS = 3


@dataclass(frozen=True)
class Rejection:
    """A bar that is not stored: whose, the end of its time, and why."""

    symbol: str
    end: datetime
    reason: str

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.symbol} {self.end:%Y-%m-%d %H:%MZ}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What the gate let through, oldest first, and what not."""

    accepted: tuple[Bar, ...]
    rejected: tuple[Rejection, ...]


def judge(
    bars: Sequence[Bar],
    spans: Collection[tuple[datetime, datetime]],
    closes_before: Sequence[float],
    now: datetime,
    spike_ratio: float,
) -> Verdict:
    """Judge the bars of one symbol.

    `spans` are the (start, end) a bar may have, `closes_before` the good closes that precede the first bar, oldest
    first, `now` the broker's time. A bar whose high or low is more than `spike_ratio` times away from most of up to
    three closes on either side is a spike; of two bars alone that disagree neither is believed.
    """
    allowed = set(spans)
    rejected: list[Rejection] = []
    sound: dict[datetime, Bar] = {}
    for bar in bars:
        fault = _fault(bar, allowed, now) or ("duplicate" if bar.end in sound else None)
        if fault is None:
            sound[bar.end] = bar
        else:
            rejected.append(Rejection(bar.symbol, bar.end, fault))
    ordered = sorted(sound.values(), key=lambda bar: bar.end)
    spikes = _spikes(ordered, closes_before, spike_ratio)
    rejected += [Rejection(bar.symbol, bar.end, "spike against its neighbours") for bar in spikes]
    return Verdict(tuple(bar for bar in ordered if bar not in spikes), tuple(rejected))


def price_fault(open_: float, high: float, low: float, close: float, volume: float) -> str | None:
    """Say what is wrong with the numbers of one bar, if anything."""
    prices = (open_, high, low, close)
    checks = (
        (not all(isfinite(number) for number in (*prices, volume)), "a number is missing or not finite"),
        (min(prices) <= 0, "a price is not above zero"),
        (max(prices) >= LARGEST_PRICE, "a price is too large"),
        (not 0 <= volume < LARGEST_VOLUME, "the volume is out of bounds"),
        (high < low, "high is below low"),
        (not low <= open_ <= high, "open is outside low and high"),
        (not low <= close <= high, "close is outside low and high"),
    )
    return next((reason for wrong, reason in checks if wrong), None)


def _fault(bar: Bar, allowed: Collection[tuple[datetime, datetime]], now: datetime) -> str | None:
    if bar.start >= now:
        return "from the future"
    if bar.end > now:
        return "not finished"
    if (bar.start, bar.end) not in allowed:
        return "misaligned"
    return price_fault(bar.open, bar.high, bar.low, bar.close, bar.volume)


def _spikes(bars: Sequence[Bar], closes_before: Sequence[float], ratio: float) -> set[Bar]:
    before = list(closes_before[-NEIGHBOURS:])
    closes = before + [bar.close for bar in bars]
    found = set()
    for i, bar in enumerate(bars, start=len(before)):
        around = closes[max(0, i - NEIGHBOURS) : i] + closes[i + 1 : i + 1 + NEIGHBOURS]
        far = sum(1 for close in around if bar.high > close * ratio or bar.low < close / ratio)
        if far > len(around) / 2:
            found.add(bar)
    return found
