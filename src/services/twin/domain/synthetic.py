"""A seeded market: cointegrated pairs, decoys, fat tails, a U-shaped day and a few gaps.

Same seed, same prices, for ever: the numbers come from the raw bit stream of PCG64 (whose output numpy guarantees)
through a closed formula for Student-t with four degrees of freedom, and each weekday owns its block of numbers, so
that neither a new numpy nor a changed holiday moves any other day's prices.

Log price of the second leg is a slow mean-reverting walk (half-life of many months, so that prices stay in range);
the first leg is a constant, plus beta times the second, plus the spread. A cointegrated pair's spread is an AR(1).
A decoy adds a level that walks away: all the time, or in stretches between calm ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.services.twin.domain.market import Floats, HalfHours, Market
from src.services.twin.domain.sessions import Session, Sessions

FIRST, LAST = date(2024, 1, 1), date(2028, 12, 29)
SLOTS = 13
STEPS = SLOTS + 1  # a day's steps: the night, then one per half hour
HALF_HOURS_PER_HOURLY_BAR = STEPS / 7
SLOW_HALF_LIFE_DAYS = 110
# Share of a day's variance by step: the night, then busy at both ends.
_DAY = np.array([3.2, 2.2, 1.5, 1.15, 0.95, 0.8, 0.72, 0.68, 0.68, 0.72, 0.8, 0.95, 1.15, 1.5])
_SCALE = np.sqrt(_DAY / _DAY.sum())


@dataclass(frozen=True, slots=True)
class PairDesign:
    """How one pair is made: volatility per day of leg 2, and the spread's standard deviation."""

    symbol_1: str
    symbol_2: str
    name_1: str
    name_2: str
    price_1: float
    price_2: float
    beta: float
    daily_volatility: float
    spread_sd: float
    half_life_bars: float
    kind: str = "cointegrated"
    calm_days: int = 0
    broken_days: int = 0
    gappy: bool = False


DESIGNS = (
    PairDesign("KELV", "KYLO", "Kelvin Grid", "Kylo Power", 110, 95, 1.10, 0.019, 0.0085, 8.0),
    PairDesign("QVEL", "QORT", "Quavel Foods", "Qort Brands", 74, 120, 0.85, 0.022, 0.0075, 6.0),
    PairDesign("VUNO", "VEXI", "Vuno Payments", "Vexi Cards", 160, 105, 1.30, 0.017, 0.0095, 11.0, gappy=True),
    PairDesign("ZORN", "ZEMA", "Zorn Freight", "Zema Rail", 88, 130, 0.70, 0.027, 0.0085, 9.0),
    PairDesign("JARQ", "JOVA", "Jarq Semiconductor", "Jova Devices", 140, 100, 1.45, 0.016, 0.0115, 16.0),
    PairDesign("XEBO", "XULA", "Xebo Media", "Xula Studios", 90, 115, 0.95, 0.020, 0.0080, 8.0, "decoy", 90, 35),
    PairDesign(
        "YORB",
        "YVEN",
        "Yorb Metals",
        "Yven Mining",
        60,
        100,
        1.05,
        0.021,
        0.0060,
        10.0,
        "decoy",
        0,
        1,
        gappy=True,
    ),
)


def synthetic_market(sessions: Sessions, seed: int) -> Market:
    """Make the market of a seed over all sessions from 2024-01-02 to 2028-12-29."""
    days = _weekdays()
    common = _innovations(seed, 0, len(days))
    paths: dict[str, Floats] = {}
    for number, design in enumerate(DESIGNS, start=1):
        paths.update(_pair_paths(design, seed, number, common))
    open_days = sessions.between(FIRST, LAST)
    bars = {s: _bars(path, days, open_days, seed, 100 + i) for i, (s, path) in enumerate(sorted(paths.items()))}
    for number, design in enumerate(DESIGNS):
        if design.gappy:
            _cut_gaps(bars[design.symbol_2], seed, 200 + number)
    names = {d.symbol_1: d.name_1 for d in DESIGNS} | {d.symbol_2: d.name_2 for d in DESIGNS}
    truth = [_truth(design) for design in DESIGNS]
    return Market(sessions, open_days[0].first_slot, bars, names=names, truth=truth, source=f"synthetic-1-{seed}")


def _truth(design: PairDesign) -> dict[str, Any]:
    cointegrated = design.kind == "cointegrated"
    return {
        "symbol_1": design.symbol_1,
        "symbol_2": design.symbol_2,
        "beta": design.beta,
        "half_life_bars": design.half_life_bars if cointegrated else None,
        "kind": design.kind,
    }


def _weekdays() -> list[date]:
    days = (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))
    return [day for day in days if day.weekday() < 5]


def _uniforms(seed: int, stream: int, count: int) -> Floats:
    raw = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(count)
    return ((np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _student(uniform: Floats) -> Floats:
    # Quantile of Student-t(4), scaled to unit variance (its variance is 2) and cut at 7 deviations.
    alpha = 4 * uniform * (1 - uniform)
    q = np.cos(np.arccos(np.sqrt(alpha)) / 3) / np.sqrt(alpha)
    t = np.sign(uniform - 0.5) * 2 * np.sqrt(np.maximum(q - 1, 0))
    scaled: Floats = np.clip(t / np.sqrt(2), -7, 7)
    return scaled


def _innovations(seed: int, stream: int, days: int) -> Floats:
    return _student(_uniforms(seed, stream, days * STEPS)).reshape(days, STEPS)


def _ar1(innovations: Floats, phi: float) -> Floats:
    flat = innovations.ravel().tolist()
    out = np.empty(len(flat))
    level = 0.0
    for i, innovation in enumerate(flat):
        level = phi * level + innovation
        out[i] = level
    return out.reshape(innovations.shape)


def _slow_walk(innovations: Floats, daily_volatility: float) -> Floats:
    return _ar1(innovations * _SCALE * daily_volatility, 0.5 ** (1 / (SLOW_HALF_LIFE_DAYS * STEPS)))


def _pair_paths(design: PairDesign, seed: int, number: int, common: Floats) -> dict[str, Floats]:
    own = _innovations(seed, 10 * number, len(common))
    market_share = 0.3
    second = _slow_walk(np.sqrt(market_share) * common + np.sqrt(1 - market_share) * own, design.daily_volatility)
    spread = _spread(design, seed, number, len(common))
    return {
        design.symbol_1: np.log(design.price_1) + design.beta * second + spread,
        design.symbol_2: np.log(design.price_2) + second,
    }


def _spread(design: PairDesign, seed: int, number: int, days: int) -> Floats:
    phi = 0.5 ** (1 / (design.half_life_bars * HALF_HOURS_PER_HOURLY_BAR))
    flat_day = 0.5 + 0.5 * _SCALE * np.sqrt(STEPS)  # half as U-shaped as prices are
    innovations = _innovations(seed, 10 * number + 1, days) * flat_day / np.sqrt(np.mean(flat_day**2))
    spread = _ar1(innovations * design.spread_sd * np.sqrt(1 - phi**2), phi)
    if design.kind == "decoy":
        spread = spread + _wandering_level(design, seed, number, days)
    return spread


def _wandering_level(design: PairDesign, seed: int, number: int, days: int) -> Floats:
    cycle = design.calm_days + design.broken_days
    broken = (np.arange(days) % cycle) >= design.calm_days
    step = _innovations(seed, 10 * number + 2, days) * broken[:, None]
    return _slow_walk(step, 0.012 if design.calm_days else 0.008)


def _bars(path: Floats, days: list[date], sessions: list[Session], seed: int, stream: int) -> HalfHours:
    row_of = {day: row for row, day in enumerate(days)}
    rows = [row_of[session.day] for session in sessions]
    counts = [session.last_slot - session.first_slot + 1 for session in sessions]
    # A half day ends early: the rest of its block is skipped, and shows as a part of the next night.
    keep: NDArray[np.bool_] = np.arange(SLOTS) < np.array(counts)[:, None]
    prices = np.exp(path[rows])
    opens, closes = prices[:, :-1][keep], prices[:, 1:][keep]
    noise = _uniforms(seed, stream, len(days) * SLOTS * 3).reshape(len(days), SLOTS, 3)[rows][keep]
    return _shape(opens, closes, noise, _volume_shape(keep))


def _volume_shape(keep: NDArray[np.bool_]) -> Floats:
    shape: Floats = np.broadcast_to(_DAY[1:] / _DAY[1:].mean(), keep.shape)[keep]
    return shape


def _shape(opens: Floats, closes: Floats, noise: Floats, busy: Floats) -> HalfHours:
    reach = 0.0012 * np.sqrt(busy)
    open_, close = np.round(opens, 2), np.round(closes, 2)
    high = np.round(np.maximum(open_, close) * (1 + reach * -np.log(noise[:, 0]) / 2), 2)
    low = np.round(np.minimum(open_, close) * (1 - reach * np.minimum(-np.log(noise[:, 1]), 8) / 2), 2)
    volume = np.floor(6e6 / np.sqrt(closes) / SLOTS * busy * (0.5 + noise[:, 2]))
    return HalfHours(open_, high, low, close, volume)


def _cut_gaps(bars: HalfHours, seed: int, stream: int) -> None:
    count = len(bars.close)
    places = np.unique((_uniforms(seed, stream, 14) * count).astype(np.int64))
    for column in (bars.open, bars.high, bars.low, bars.close, bars.volume):
        column[places] = np.nan
