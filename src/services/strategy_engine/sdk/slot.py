"""What one slot knows: the market up to it, the registered pairs, and what an instance holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from src.services.strategy_engine.domain.evaluation import SlotTime, UnfinishedTrade, WatchedPair
from src.services.strategy_engine.sdk.wishes import EnterPair, ExitPair, Target, Wish
from src.shared.domain.bars import BarSeries, CloseSeries, Floats
from src.shared.domain.pairs import PairTradeState
from src.shared.domain.sessions import TradingCalendar


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


_NO_BARS = (np.empty((0, 0)),) * 5


@dataclass(frozen=True)
class PriceBar:
    """One whole bar: prices in dollars, volume in shares."""

    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, eq=False)
class Bars:
    """Whole bars of one symbol as arrays of one length, oldest first; all NaN where there is no bar."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@dataclass(frozen=True)
class SlotBar:
    """The bar that ends at the slot: the close of each symbol of the instance that has one.

    `bars` has the whole bars, for a strategy that says it reads them (`WHOLE_BARS`).
    """

    slot: datetime
    closes: Mapping[str, float]
    bars: Mapping[str, PriceBar] = field(default_factory=_nothing)


@dataclass(frozen=True, eq=False)
class SlotData:
    """The market at a slot, the same object for every instance.

    `series` holds finished bars up to the slot, of all symbols that any instance names. `pairs` are the registered
    pairs that instances may trade, each with its unfinished trade in the account. `ticks` are prices newer than the
    bars, by symbol. `whole` has the same bars with all their values, of the symbols of those who read them.
    """

    time: SlotTime
    series: CloseSeries
    pairs: tuple[WatchedPair, ...] = ()
    ticks: Mapping[str, float] = field(default_factory=_nothing)
    whole: BarSeries | None = None

    def __post_init__(self) -> None:
        """Refuse bars that end after the slot: nobody knew them then."""
        if self.series.ends and self.series.ends[-1] > self.time.slot:
            raise ValueError(f"a bar ends at {self.series.ends[-1]}, after the slot {self.time.slot}")

    @classmethod
    def at(
        cls,
        series: CloseSeries,
        time: SlotTime,
        pairs: tuple[WatchedPair, ...] = (),
        whole: BarSeries | None = None,
    ) -> SlotData:
        """Take of longer series what is known at the slot."""
        from bisect import bisect_right

        known = bisect_right(series.ends, time.slot)
        closes = CloseSeries(series.symbols, series.ends[:known], series.closes[:known])
        return cls(time, closes, pairs, whole=whole.first(known) if whole else None)

    def closes(self, symbol: str, bars: int) -> Floats:
        """Return a copy of the last `bars` closes, shape (bars,), oldest first; NaN where there is none."""
        return _last(self.series.closes, self._columns.get(symbol), bars)

    def bars(self, symbol: str, bars: int) -> Bars:
        """Return copies of the last `bars` whole bars, all NaN where there is none."""
        values = self.whole.values if self.whole else _NO_BARS
        return Bars(*(_last(each, self._whole_columns.get(symbol), bars) for each in values))

    def last_bar(self, symbol: str) -> PriceBar | None:
        """Return the whole bar that ends at the slot; None where there is none."""
        column = self._whole_columns.get(symbol)
        if self.whole is None or column is None or self.last_close(symbol) is None:
            return None
        return PriceBar(*(float(values[-1, column]) for values in self.whole.values))

    def price(self, symbol: str) -> float | None:
        """Return the newest tick, else the close of the bar that ends at the slot; None without either."""
        if symbol in self.ticks:
            return self.ticks[symbol]
        return self.last_close(symbol)

    def last_close(self, symbol: str) -> float | None:
        """Return the close of the bar that ends at the slot; None where there is none."""
        column = self._columns.get(symbol)
        if column is None or not self.series.ends or self.series.ends[-1] != self.time.slot:
            return None
        close = float(self.series.closes[-1, column])
        return None if np.isnan(close) else close

    @cached_property
    def _whole_columns(self) -> dict[str, int]:
        return {symbol: column for column, symbol in enumerate(self.whole.symbols)} if self.whole else {}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {symbol: column for column, symbol in enumerate(self.series.symbols)}


@dataclass(frozen=True)
class Held:
    """What an instance holds: fractions of its capital by symbol, and the unfinished trades of its pairs.

    An instance in observe holds nothing in the account: for it this is what it would hold, had all that it asked for
    been done at once.
    """

    fractions: Mapping[str, float] = field(default_factory=_nothing)
    trades: Mapping[str, UnfinishedTrade] = field(default_factory=_nothing)

    @classmethod
    def of_pairs(cls, pairs: Iterable[WatchedPair]) -> Held:
        """Read the trades that pairs have in the account."""
        return cls(trades=MappingProxyType({each.pair.id: each.trade for each in pairs if each.trade is not None}))

    def after(self, wishes: Iterable[Wish], slot: datetime) -> Held:
        """Say what is held once all that was asked for in a slot is done."""
        fractions, trades = dict(self.fractions), dict(self.trades)
        for wish in wishes:
            match wish:
                case Target(symbol=symbol, fraction=fraction):
                    fractions.pop(symbol, None)
                    if fraction:
                        fractions[symbol] = fraction
                case EnterPair(pair_id=pair, direction=direction):
                    trades.setdefault(pair, UnfinishedTrade(direction, PairTradeState.OPEN, slot))
                case ExitPair(pair_id=pair):
                    trades.pop(pair, None)
        return Held(MappingProxyType(fractions), MappingProxyType(trades))


def _last(values: Floats, column: int | None, bars: int) -> Floats:
    found = np.full(bars, np.nan)
    if column is not None and bars:
        known = values[-bars:, column]
        found[bars - len(known) :] = known
    found.setflags(write=False)
    return found


def with_trades(pairs: Iterable[WatchedPair], held: Held) -> tuple[WatchedPair, ...]:
    """Give each pair the trade that the instance holds of it, or none."""
    return tuple(
        each if each.trade == held.trades.get(each.pair.id) else replace(each, trade=held.trades.get(each.pair.id))
        for each in pairs
    )


@lru_cache(maxsize=1)
def exchange_calendar() -> TradingCalendar:
    """Return the exchange's calendar, read once a process."""
    return TradingCalendar()
