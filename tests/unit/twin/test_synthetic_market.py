"""The synthetic market is what it says it is, by the same statistics a strategy would use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from itertools import combinations

import numpy as np
import pytest
from statsmodels.tsa.stattools import coint

from src.services.twin.domain.market import Floats, Market
from src.services.twin.domain.sessions import Sessions
from src.services.twin.domain.synthetic import DESIGNS, PairDesign, synthetic_market
from tests.unit.twin.markets import sessions

SEED = 7
WINDOW = 500
PAIRS = [design for design in DESIGNS if design.kind == "cointegrated"]
DECOYS = [design for design in DESIGNS if design.kind == "decoy"]


@pytest.fixture(scope="module")
def prices() -> Market:
    return synthetic_market(sessions(), SEED)


@dataclass(frozen=True)
class Fit:
    beta: float
    half_life: float
    p_value: float


def hourly_logs(market: Market, symbol: str) -> Floats:
    """Log closes of the session-aligned hours, the last known price in a gap."""
    closes = [
        market.last_close(symbol, min(slot + 1, day.last_slot) + 1) or np.nan
        for day in sessions().between(date(2024, 1, 2), date(2028, 12, 29))
        for slot in range(day.first_slot, day.last_slot + 1, 2)
    ]
    logs: Floats = np.log(np.array(closes))
    return logs


def fits(market: Market, design: PairDesign, step: int = 1500) -> list[Fit]:
    one, two = hourly_logs(market, design.symbol_1), hourly_logs(market, design.symbol_2)
    return [_fit(one[end - WINDOW : end], two[end - WINDOW : end]) for end in range(WINDOW, len(one), step)]


def _fit(one: Floats, two: Floats) -> Fit:
    beta, alpha = np.polyfit(two, one, 1)
    spread = one - beta * two - alpha
    slope = np.polyfit(spread[:-1], np.diff(spread), 1)[0]
    half_life = -np.log(2) / np.log1p(slope) if -1 < slope < 0 else np.inf
    return Fit(float(beta), float(half_life), float(coint(one, two)[1]))


def digest(market: Market) -> str:
    text = hashlib.sha256()
    for symbol in market.symbols:
        series = market.series(symbol, "30Min")
        text.update(
            repr([(row["t"], row["o"], row["h"], row["l"], row["c"], row["v"]) for row in series.rows]).encode()
        )
    return text.hexdigest()


@pytest.mark.parametrize("design", PAIRS, ids=lambda d: d.symbol_1)
def test_a_pair_is_cointegrated_with_its_beta_and_half_life(prices: Market, design: PairDesign) -> None:
    found = fits(prices, design)

    assert np.mean([fit.p_value < 0.05 for fit in found]) >= 0.6
    assert np.median([fit.beta for fit in found]) == pytest.approx(design.beta, rel=0.1)
    # A window of 500 bars shortens a long half-life, never doubles it.
    assert 0.55 * design.half_life_bars < np.median([fit.half_life for fit in found]) < 1.4 * design.half_life_bars


@pytest.mark.parametrize("design", DECOYS, ids=lambda d: d.symbol_1)
def test_a_decoy_is_correlated_and_fails_where_a_pair_passes(prices: Market, design: PairDesign) -> None:
    returns = [np.diff(hourly_logs(prices, symbol)) for symbol in (design.symbol_1, design.symbol_2)]
    passed = np.mean([fit.p_value < 0.05 for fit in fits(prices, design, step=700)])

    assert np.corrcoef(returns[0], returns[1]).item(0, 1) > 0.8
    assert passed < 0.6


def test_legs_of_a_pair_are_alike_and_different_pairs_are_not(prices: Market) -> None:
    returns = {symbol: np.diff(hourly_logs(prices, symbol)) for symbol in prices.symbols}
    together = {frozenset((design.symbol_1, design.symbol_2)) for design in DESIGNS}

    for one, two in combinations(prices.symbols, 2):
        correlation = float(np.corrcoef(returns[one], returns[two]).item(0, 1))
        assert (correlation > 0.8) if frozenset((one, two)) in together else (abs(correlation) < 0.6)


@pytest.mark.parametrize("design", PAIRS, ids=lambda d: d.symbol_1)
def test_entries_come_often_and_are_wide_enough_to_pay(prices: Market, design: PairDesign) -> None:
    one, two = hourly_logs(prices, design.symbol_1), hourly_logs(prices, design.symbol_2)
    spread = one - design.beta * two
    window = int(min(max(10, 2 * design.half_life_bars), 60))
    panes = np.lib.stride_tricks.sliding_window_view(spread, window)
    z = (panes[:, -1] - panes.mean(axis=1)) / panes.std(axis=1, ddof=1)

    crossings = np.count_nonzero((np.abs(z[1:]) > 2) & (np.abs(z[:-1]) <= 2))
    assert crossings > len(z) / 7 / 6  # at least one in six sessions
    assert 0.004 < spread.std() < 0.02


@pytest.mark.parametrize("seed", [1, SEED, 2026])
def test_prices_stay_in_range_and_bars_are_consistent(seed: int) -> None:
    market = synthetic_market(sessions(), seed)

    for symbol in market.symbols:
        rows = market.series(symbol, "30Min").rows
        assert all(20 < row["l"] <= min(row["o"], row["c"]) for row in rows)
        assert all(max(row["o"], row["c"]) <= row["h"] < 500 and row["v"] > 0 for row in rows)


def test_volume_is_high_at_both_ends_of_the_day_and_tails_are_fat(prices: Market) -> None:
    winter = prices.series("KELV", "30Min").rows[: 13 * 100]  # no half day among them
    by_slot = np.array([row["v"] for row in winter]).reshape(-1, 13).mean(axis=0)
    moves = np.diff(hourly_logs(prices, "KELV"))

    assert min(by_slot[0], by_slot[12]) > 1.5 * by_slot[6]
    assert np.mean(((moves - moves.mean()) / moves.std()) ** 4) > 4


def test_a_few_bars_are_missing(prices: Market) -> None:
    missing = dict.fromkeys(prices.symbols, 0)
    whole = len(prices.series("KELV", "30Min").rows)
    for symbol in prices.symbols:
        missing[symbol] = whole - len(prices.series(symbol, "30Min").rows)

    assert {symbol for symbol, count in missing.items() if count} == {"VEXI", "YVEN"}
    assert all(count < 20 for count in missing.values())


def test_half_days_have_seven_bars_and_holidays_none(prices: Market) -> None:
    rows = prices.series("KELV", "30Min").rows
    days = ("2026-11-25", "2026-11-26", "2026-11-27")

    assert [sum(row["t"].startswith(day) for row in rows) for day in days] == [13, 0, 7]


def test_a_seed_gives_the_same_prices_for_ever_and_another_seed_others(prices: Market) -> None:
    assert digest(synthetic_market(Sessions(), SEED)) == digest(prices)
    assert digest(synthetic_market(sessions(), 8)) != digest(prices)
    first, last = prices.series("KELV", "30Min").rows[0], prices.series("YVEN", "30Min").rows[-1]
    assert (first["t"], first["o"], first["c"]) == ("2024-01-02T14:30:00Z", 108.97, 108.57)
    assert (last["t"], last["o"], last["c"]) == ("2028-12-29T20:30:00Z", 89.8, 89.86)
