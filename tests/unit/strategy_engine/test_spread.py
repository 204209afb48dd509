from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.spread import read_spreads
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.pairs import Pair
from src.shared.domain.signals import SpreadReading
from tests.unit.strategy_engine.builders import SLOT, make_pair, make_series

SYMBOLS = ("AA", "BB", "CC", "DD", "EE")


def walk(seed: int, bars: int, symbols: int) -> Floats:
    steps = np.random.default_rng(seed).normal(0, 0.01, (bars, symbols))
    closes: Floats = 50.0 * np.exp(steps.cumsum(axis=0))
    return closes


def some_pairs(seed: int, count: int, bars: int) -> list[Pair]:
    rng = np.random.default_rng(seed)
    names = [SYMBOLS[i] for i in rng.integers(0, 4, count)]
    return [
        make_pair(
            name,
            "EE",
            alpha=float(rng.normal()),
            beta=float(rng.uniform(0.2, 3)),
            window=int(rng.integers(3, bars + 1)),
        )
        for name in names
    ]


def naive_z(series: CloseSeries, pair: Pair) -> float:
    one, two = series.pair(pair.symbol_1, pair.symbol_2)
    spread = pd.Series(np.log(one) - pair.beta * np.log(two) - pair.alpha)
    rolling = spread.rolling(pair.z_window_bars)
    return float(((spread - rolling.mean()) / rolling.std(ddof=1)).iloc[-1])


def only(series: CloseSeries, pair: Pair) -> SpreadReading | Reason:
    return read_spreads(series, [pair], SLOT)[0]


def test_a_reading_worked_by_hand() -> None:
    # Spreads are 0, 1, 2 over the window of three: mean 1, sd 1 with ddof = 1, z = (2 − 1) / 1.
    closes = np.array([[999.0, 1.0], [1.0, 1.0], [math.e, 1.0], [math.e**2, 1.0]])

    reading = only(make_series(("KO", "PEP"), closes), make_pair(window=3))

    assert isinstance(reading, SpreadReading)
    assert (reading.spread, reading.mean, reading.sd, reading.z) == pytest.approx((2, 1, 1, 1))
    assert (reading.price_1, reading.price_2, reading.window_bars) == (math.e**2, 1.0, 3)


def test_alpha_and_beta_enter_the_spread() -> None:
    closes = np.array([[math.e**3, math.e], [math.e**4, math.e], [math.e**6, math.e**2]])

    reading = only(make_series(("KO", "PEP"), closes), make_pair(alpha=0.5, beta=2.0, window=3))

    assert isinstance(reading, SpreadReading)
    assert reading.spread == pytest.approx(6 - 2 * 2 - 0.5)
    assert reading.mean == pytest.approx((0.5 + 1.5 + 1.5) / 3)


HOLES = [
    # rows with a hole in leg 1, rows with a hole in leg 2, expected (window 10 of 20 rows, the last row is 19)
    ([], [], None),
    ([0, 5, 9], [3], None),
    ([10], [], Reason.MISSING_BARS),
    ([], [10], Reason.MISSING_BARS),
    ([18], [18], Reason.MISSING_BARS),
    ([19], [], Reason.STALE_BAR),
    ([], [19], Reason.STALE_BAR),
    ([15, 19], [], Reason.STALE_BAR),
]


@pytest.mark.parametrize(("first", "second", "expected"), HOLES)
def test_only_holes_in_the_window_matter(first: list[int], second: list[int], expected: Reason | None) -> None:
    closes = walk(1, 20, 2)
    closes[first, 0] = np.nan
    closes[second, 1] = np.nan

    found = only(make_series(("KO", "PEP"), closes), make_pair(window=10))

    assert found is expected if expected else isinstance(found, SpreadReading)


@pytest.mark.parametrize(("bars", "refused"), [(9, True), (10, False)])
def test_fewer_bars_than_the_window_give_no_reading(bars: int, refused: bool) -> None:
    found = only(make_series(("KO", "PEP"), walk(2, bars, 2)), make_pair(window=10))

    assert (found is Reason.TOO_FEW_BARS) is refused


def test_a_series_that_ends_before_the_slot_is_stale() -> None:
    series = make_series(("KO", "PEP"), walk(3, 20, 2), last=SLOT - timedelta(hours=1))

    assert only(series, make_pair()) is Reason.STALE_BAR


def test_an_empty_series_is_stale() -> None:
    assert only(CloseSeries(("KO",), (), np.empty((0, 1))), make_pair()) is Reason.STALE_BAR


def test_a_symbol_without_bars_is_stale() -> None:
    assert only(make_series(("KO", "AA"), walk(4, 20, 2)), make_pair()) is Reason.STALE_BAR


@pytest.mark.parametrize("price", [100.0, 0.1, 61.37])
def test_prices_that_do_not_move_are_flat_whatever_rounding_says(price: float) -> None:
    closes = np.full((20, 2), price)

    assert only(make_series(("KO", "PEP"), closes), make_pair(alpha=0.1, beta=0.3)) is Reason.FLAT_SPREAD


@pytest.mark.parametrize("price", [0.0, -5.0, math.inf])
def test_a_price_without_a_logarithm_gives_no_reading(price: float) -> None:
    closes = walk(5, 20, 2)
    closes[15, 0] = price

    assert only(make_series(("KO", "PEP"), closes), make_pair()) is Reason.NOT_FINITE


def test_one_bad_pair_does_not_spoil_another() -> None:
    closes = walk(6, 20, 5)
    closes[15, 0], closes[15, 1] = np.nan, 0.0
    pairs = [make_pair(name, "EE") for name in SYMBOLS[:4]]

    found = read_spreads(make_series(SYMBOLS, closes), pairs, SLOT)

    assert found[:2] == [Reason.MISSING_BARS, Reason.NOT_FINITE]
    assert [reading.z for reading in found[2:] if isinstance(reading, SpreadReading)] == pytest.approx(
        [naive_z(make_series(SYMBOLS, closes), pair) for pair in pairs[2:]]
    )


def test_no_pairs_are_no_readings() -> None:
    assert read_spreads(make_series(SYMBOLS, walk(7, 20, 5)), [], SLOT) == []


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12), bars=st.integers(3, 60))
def test_all_pairs_at_once_are_what_a_loop_over_pairs_says(seed: int, count: int, bars: int) -> None:
    series, pairs = make_series(SYMBOLS, walk(seed, bars, 5)), some_pairs(seed, count, bars)

    found = read_spreads(series, pairs, SLOT)

    # pandas keeps a running sum, so its own rounding is the wider one.
    expected = [naive_z(series, pair) for pair in pairs]
    assert [r.z for r in found if isinstance(r, SpreadReading)] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100))
def test_z_does_not_change_when_the_first_leg_is_quoted_in_another_unit(seed: int, scale: float) -> None:
    closes, pair = walk(seed, 30, 5), make_pair("AA", "EE", beta=0.8, window=25)
    scaled = closes * np.array([scale, 1, 1, 1, 1])

    before, after = only(make_series(SYMBOLS, closes), pair), only(make_series(SYMBOLS, scaled), pair)

    assert isinstance(before, SpreadReading)
    assert isinstance(after, SpreadReading)
    assert after.z == pytest.approx(before.z, rel=1e-9, abs=1e-9)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), order=st.permutations(range(8)))
def test_the_order_of_pairs_changes_only_the_order_of_readings(seed: int, order: list[int]) -> None:
    series, pairs = make_series(SYMBOLS, walk(seed, 30, 5)), some_pairs(seed, 8, 30)

    straight = read_spreads(series, pairs, SLOT)
    shuffled = read_spreads(series, [pairs[i] for i in order], SLOT)

    assert shuffled == [straight[i] for i in order]
