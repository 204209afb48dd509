"""Bars of one symbol made up from a seed, and as many of them as wanted."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from src.shared.domain.bars import StoredBars

BEGINNING = np.datetime64("2023-01-02T21:00", "us")
RECORDED = np.datetime64("2025-01-01T00:00", "us")
DAY = np.timedelta64(1, "D")


def made_up(count: int, seed: int = 7, step: np.timedelta64 = DAY) -> StoredBars:
    """Make bars whose closes wander, each an hour or a day, or whatever the step is, after the one before."""
    rng = np.random.default_rng(seed)
    close = 80 * np.exp(rng.normal(0, 0.01, count).cumsum())
    opened = close * np.exp(rng.normal(0, 0.005, count))
    spread = 1 + np.abs(rng.normal(0, 0.005, count))
    end = BEGINNING + np.arange(count) * step
    return StoredBars(
        end=end,
        open=opened,
        high=np.maximum(opened, close) * spread,
        low=np.minimum(opened, close) / spread,
        close=close,
        volume=rng.integers(1_000, 1_000_000, count).astype(np.float64),
        recorded_at=np.full(count, RECORDED),
    )


def part(bars: StoredBars, chosen: slice) -> StoredBars:
    """Take some of the bars."""
    return StoredBars(**{field.name: getattr(bars, field.name)[chosen] for field in fields(StoredBars)})


def restated(bars: StoredBars, chosen: slice, factor: float = 0.5) -> StoredBars:
    """Give some of the bars other prices and another time of recording."""
    prices = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for column in prices.values():
        column[chosen] *= factor
    recorded_at = bars.recorded_at.copy()
    recorded_at[chosen] += np.timedelta64(1, "h")
    return replace(bars, **prices, recorded_at=recorded_at)
