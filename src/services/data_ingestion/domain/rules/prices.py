"""Rules on the prices of single bars and on prices that stand still, and on volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from src.services.data_ingestion.domain.gate import LARGEST_PRICE, LARGEST_VOLUME
from src.services.data_ingestion.domain.rules.series import Flags, StoredSeries
from src.services.data_ingestion.domain.rules.timetable import shown
from src.services.data_ingestion.domain.rules.verdict import Severity, Verdict, failed, passed


@dataclass(frozen=True)
class PriceRange:
    """Every number is one, above zero, and open and close lie between low and high."""

    name: ClassVar[str] = "price_range"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Look at every number of every bar. A comparison with NaN is false, so NaN is never sound."""
        bars = series.bars
        sound = (bars.low > 0) & (bars.high < LARGEST_PRICE)
        sound &= (bars.low <= bars.open) & (bars.open <= bars.high)
        sound &= (bars.low <= bars.close) & (bars.close <= bars.high)
        sound &= (bars.volume >= 0) & (bars.volume < LARGEST_VOLUME)
        wrong = np.flatnonzero(~sound)
        if not len(wrong):
            return passed(self, "every price and volume is possible", impossible=0)
        first = shown(bars.end[wrong[0]])
        return failed(
            self, f"{len(wrong)} bars have impossible numbers, first {first}", impossible=len(wrong), first=first
        )


@dataclass(frozen=True)
class FrozenPrice:
    """The price moves: a feed that hangs repeats its last price, bar after bar."""

    max_bars: int
    name: ClassVar[str] = "frozen_price"
    severity: ClassVar[Severity] = "block"

    def judge(self, series: StoredSeries) -> Verdict:
        """Find the longest run of bars without a range and with the close of the bar before."""
        bars = series.bars
        still = (bars.close[1:] == bars.close[:-1]) & (bars.high[1:] == bars.low[1:])
        last, length = _longest_run(still)
        if length < self.max_bars:
            return passed(self, "the price moves", longest_run_bars=length)
        first = shown(bars.end[last - length + 1])
        what = f"the same price for {length} bars from {first}"
        return failed(self, what, longest_run_bars=length, first=first, price=float(bars.close[last]))


@dataclass(frozen=True)
class MovesWithoutVolume:
    """Where prices move, shares change hands: moving prices without volume are quotes or made up.

    A series that never has volume has none to judge.
    """

    max_fraction: float
    name: ClassVar[str] = "moves_without_volume"
    severity: ClassVar[Severity] = "warning"

    def judge(self, series: StoredSeries) -> Verdict:
        """Count bars with a range and no volume."""
        bars = series.bars
        if not (bars.volume > 0).any():
            return passed(self, "the series has no volume at all", moved_without_volume=0)
        empty = int(((bars.volume == 0) & (bars.high > bars.low)).sum())
        if empty <= self.max_fraction * len(bars):
            return passed(self, "prices move with volume", moved_without_volume=empty)
        return failed(self, "prices move without volume", moved_without_volume=empty, bars=len(bars))


@dataclass(frozen=True)
class VolumeSpike:
    """No bar has a volume many times the usual one. Days of options or index changes do: it only informs."""

    max_ratio: float
    name: ClassVar[str] = "volume_spike"
    severity: ClassVar[Severity] = "info"

    def judge(self, series: StoredSeries) -> Verdict:
        """Hold the largest volume against the median of the bars that have any."""
        traded = series.bars.volume[series.bars.volume > 0]
        if not len(traded):
            return passed(self, "the series has no volume at all", largest_ratio=0.0)
        ratio = round(float(traded.max() / np.median(traded)), 1)
        if ratio <= self.max_ratio:
            return passed(self, "no volume stands out", largest_ratio=ratio)
        at = shown(series.bars.end[int(np.nanargmax(series.bars.volume))])
        return failed(self, f"the volume of {at} stands out", largest_ratio=ratio, at=at)


def _longest_run(flags: Flags) -> tuple[int, int]:
    """Return where the longest run of true flags ends, counted one further, and its length."""
    places = np.arange(len(flags) + 1)
    before = np.concatenate([[False], flags])
    run = places - np.maximum.accumulate(np.where(before, 0, places))
    last = int(run.argmax()) if len(run) else 0
    return last, int(run[last]) if len(run) else 0
