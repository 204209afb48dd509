"""The gate and the making of bars in columns against a plain statement of each rule, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import inf, isfinite, nan

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.data_ingestion.domain.gate import Flaw, judge
from src.services.data_ingestion.domain.grid import HALF_HOURS, Grid
from src.services.data_ingestion.domain.making import make_bars
from src.shared.domain.bars import Bar, BarColumns
from src.shared.domain.vendor_data import VendorBar, VendorBars
from tests.fakes.bar_columns import rows_of

OPEN = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
HALF = timedelta(minutes=30)
HOUR = 2 * HALF
RATIO = 10.0
# A session of three hours and a half, so that its last bar is half as long.
SPANS = [(OPEN + i * HOUR, min(OPEN + (i + 1) * HOUR, OPEN + 7 * HALF)) for i in range(4)]

ODD = st.sampled_from([nan, inf, -inf, 0.0, -0.0, -1.0, 1e-300, 1e308, 1e9, 1e15, 999999999.9, 100.0])
NUMBERS = st.one_of(st.sampled_from([98.0, 99.0, 100.0, 101.0, 102.0]), st.floats(90, 110), st.floats(1, 3000), ODD)
VOLUMES = st.one_of(st.floats(0, 1e6), NUMBERS)
MOMENTS = st.integers(-2, 9).map(lambda n: OPEN + n * HALF)
SOUND = st.floats(80, 120).map(lambda price: (price, price + 1, price - 1, price, 10.0))
ROW = st.one_of(SOUND, st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, VOLUMES))
BARS = st.one_of(
    st.builds(lambda span, row: Bar("SPY", *span, *row), st.sampled_from(SPANS), ROW),
    st.builds(lambda start, end, row: Bar("SPY", start, end, *row), MOMENTS, MOMENTS, ROW),
)
ROWS = st.builds(
    lambda start, shift, row: VendorBar("SPY", start + shift, *row),
    MOMENTS,
    st.sampled_from([timedelta(0), timedelta(0), timedelta(0), timedelta(minutes=7)]),
    st.one_of(st.just((100.0, 101.0, 99.0, 100.0, 10.0)), ROW),
)


def price_flaw(row: Bar | VendorBar) -> Flaw:
    prices = (row.open, row.high, row.low, row.close)
    if not all(isfinite(number) for number in (*prices, row.volume)):
        return Flaw.NOT_FINITE
    if min(prices) <= 0:
        return Flaw.NOT_POSITIVE
    if max(prices) >= 1e9:
        return Flaw.TOO_LARGE
    if not 0 <= row.volume < 1e15:
        return Flaw.VOLUME_BOUNDS
    return order_flaw(row)


def order_flaw(row: Bar | VendorBar) -> Flaw:
    if row.high < row.low:
        return Flaw.HIGH_BELOW_LOW
    if not row.low <= row.open <= row.high:
        return Flaw.OPEN_OUTSIDE
    return Flaw.NONE if row.low <= row.close <= row.high else Flaw.CLOSE_OUTSIDE


def flaw_of(bar: Bar, now: datetime) -> Flaw:
    if bar.start >= now:
        return Flaw.FUTURE
    if bar.end > now:
        return Flaw.UNFINISHED
    return price_flaw(bar) if (bar.start, bar.end) in SPANS else Flaw.MISALIGNED


def plainly_judged(
    bars: Sequence[Bar], before: Sequence[float], now: datetime
) -> tuple[list[Bar], list[tuple[datetime, Flaw]]]:
    sound: dict[datetime, Bar] = {}
    flawed = []
    for bar in bars:
        flaw = flaw_of(bar, now) or (Flaw.DUPLICATE if bar.end in sound else Flaw.NONE)
        if flaw:
            flawed.append((bar.end, flaw))
        else:
            sound[bar.end] = bar
    ordered = [sound[end] for end in sorted(sound)]
    closes = [*before[-3:], *(bar.close for bar in ordered)]
    accepted = []
    for place, bar in enumerate(ordered, start=len(before[-3:])):
        around = closes[max(0, place - 3) : place] + closes[place + 1 : place + 4]
        far = sum(bar.high > close * RATIO or bar.low < close / RATIO for close in around)
        if far > len(around) / 2:
            flawed.append((bar.end, Flaw.SPIKE))
        else:
            accepted.append(bar)
    return accepted, sorted(flawed)


@settings(max_examples=400)
@given(bars=st.lists(BARS, max_size=14), before=st.lists(st.floats(1, 1000), max_size=5), now=MOMENTS)
def test_the_gate_in_columns_judges_as_a_plain_statement_of_its_rules_does(
    bars: list[Bar], before: list[float], now: datetime
) -> None:
    verdict = judge(BarColumns.of("SPY", bars), Grid.of(SPANS), np.array(before), now, RATIO)

    accepted, flawed = plainly_judged(bars, before, now)
    assert rows_of(verdict.accepted) == accepted
    assert sorted((each.end, each.flaw) for each in verdict.rejected) == flawed


def plainly_made(rows: Sequence[VendorBar]) -> tuple[list[Bar], list[tuple[datetime, Flaw]]]:
    made, rejected = [], []
    for start, end in SPANS:
        starts = [start] if end - start <= HALF else [start, start + HALF]
        rejected += [
            (end, Flaw.ROW_MISALIGNED) for row in rows if start <= row.start < end and row.start not in starts
        ]
        parts = [[row for row in rows if row.start == each] for each in starts]
        numbers = [[(r.open, r.high, r.low, r.close, r.volume) for r in part] for part in parts]
        for part in numbers:
            rejected += [(end, Flaw.ROW_TWICE) for row in part[1:] if same(row, part[0])]
        if not any(parts):
            continue
        if any(not same(row, part[0]) for part in numbers for row in part[1:]):
            rejected.append((end, Flaw.ROWS_DIFFER))
        elif not parts[0]:
            rejected.append((end, Flaw.FIRST_HALF_MISSING))
        elif not parts[-1]:
            rejected.append((end, Flaw.SECOND_HALF_MISSING))
        elif found := [flaw for part in parts if (flaw := price_flaw(part[0]))]:
            rejected.append((end, found[0]))
        else:
            halves = [part[0] for part in parts]
            high, low = max(half.high for half in halves), min(half.low for half in halves)
            volume = sum(half.volume for half in halves)
            made.append(Bar("SPY", start, end, halves[0].open, high, low, halves[-1].close, volume))
    return made, sorted(rejected)


def same(row: tuple[float, ...], other: tuple[float, ...]) -> bool:
    # A number that is none is like no other.
    return all(mine == theirs for mine, theirs in zip(row, other, strict=True))


@settings(max_examples=400)
@given(rows=st.lists(ROWS, max_size=16))
def test_hours_in_columns_are_made_as_a_plain_statement_makes_them(rows: list[VendorBar]) -> None:
    made = make_bars(VendorBars.of("SPY", rows), Grid.of(SPANS), HALF_HOURS)

    bars, rejected = plainly_made(rows)
    assert rows_of(made.bars) == bars
    assert sorted((each.end, each.flaw) for each in made.rejected) == rejected
    assert all(each.raw for each in made.rejected)
