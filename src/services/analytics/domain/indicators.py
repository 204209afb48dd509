"""Technical indicators as data, and their values over a series of bars. All arithmetic is TA-Lib's.

Every value depends on its own bar and earlier ones only. How far back, decides what may be worked out from where:

- A *window* (SMA, Bollinger bands, returns, volatility) reads a fixed number of bars.
- A *recursive* average (EMA, RSI, MACD, ATR) reads every bar since the start of the series, each bar back weighing
  less by a constant factor. TA-Lib begins it with a plain mean, so its value depends on where the series begins.
  After `settling_bars` the beginning weighs less than 1e-10 of itself.
- A *cumulative* sum (OBV) never forgets.

So values are worked out over the whole series, from its first bar: then they are equal to TA-Lib's because they are
TA-Lib's, however many bars were new. TA-Lib does millions of bars a second; carrying states along would save nothing
that matters and add a second set of formulas. Where the head of a series is no longer stored (its bars went to the
archive), recursive averages are given once they have settled, and the cumulative sum goes on from its value there.

Sources of the formulas: J. Welles Wilder, *New Concepts in Technical Trading Systems* (1978), for RSI and ATR;
Gerald Appel, *The Moving Average Convergence-Divergence Trading Method* (1979), for MACD; John Bollinger, *Bollinger
on Bollinger Bands* (2001); Joseph Granville, *New Key to Stock Market Profits* (1963), for OBV. Where they leave a
choice, TA-Lib's is taken: https://ta-lib.org/functions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import talib

from src.shared.domain.bars import DAILY, HOURLY, BarKind, Floats, Moments, StoredBars
from src.shared.domain.errors import InputInvalid

REVISION = 1
"""Raised when a formula changes without a change of parameters: everything stored is then worked out anew."""

SESSIONS_PER_YEAR = 252
BARS_PER_SESSION: Mapping[str, int] = {DAILY: 1, HOURLY: 7}
"""On XNYS; the seventh hourly bar is half an hour long."""

SETTLED = 1e-10
"""What the beginning of a recursive average may still weigh when its value is taken for settled."""

OBV = "obv"


@dataclass(frozen=True)
class IndicatorParameters:
    """How long the windows and averages are, in bars, and how wide the Bollinger bands, in standard deviations."""

    sma_short_bars: int = 20
    sma_medium_bars: int = 50
    sma_long_bars: int = 200
    ema_short_bars: int = 12
    ema_long_bars: int = 26
    rsi_bars: int = 14
    macd_fast_bars: int = 12
    macd_slow_bars: int = 26
    macd_signal_bars: int = 9
    bollinger_bars: int = 20
    bollinger_width: float = 2.0
    atr_bars: int = 14
    volatility_bars: int = 20


@dataclass(frozen=True)
class Indicator:
    """One call of TA-Lib.

    `inputs` are columns of bars or the output of an earlier indicator; `outputs` are named in TA-Lib's order. The
    first `warm_up_bars` values of each output do not exist. `decays` are the factors by which a bar further back
    weighs less, one for each recursion that follows another; a window has none.
    """

    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, float]
    warm_up_bars: int
    decays: tuple[float, ...] = ()

    @property
    def settling_bars(self) -> int:
        """Count the bars from the beginning of a series until a value no longer shows where it began."""
        return self.warm_up_bars + sum(math.ceil(math.log(SETTLED) / math.log(decay)) for decay in self.decays)


@dataclass(frozen=True)
class IndicatorSet:
    """The indicators of bars of one timeframe. `set_id` changes when anything about them does."""

    timeframe: str
    indicators: tuple[Indicator, ...]

    @cached_property
    def set_id(self) -> str:
        """Twelve hexadecimal digits that stand for the whole of it."""
        return sha256(json.dumps(self.described(), sort_keys=True).encode()).hexdigest()[:12]

    def described(self) -> dict[str, Any]:
        """Return everything that decides its values, for JSON."""
        return {
            "revision": REVISION,
            "timeframe": self.timeframe,
            "indicators": [asdict(indicator) for indicator in self.indicators],
        }


@dataclass(frozen=True)
class IndicatorRows:
    """Values of one symbol's indicators at N bars: every stored column by name, of shape (N,), NaN where it has none.

    `end` and `made_from`, the `recorded_at` of the bars, have shape (N,) and dtype datetime64[us].
    """

    symbol: str
    end: Moments
    made_from: Moments
    values: Mapping[str, Floats]


@dataclass(frozen=True)
class LatestIndicators:
    """The newest values of one series; None where the series is too short for one."""

    symbol: str
    kind: BarKind
    bar_end: datetime
    values: Mapping[str, float | None]


# The stored columns, in their order. What an indicator gives besides is an input of another one.
COLUMNS = (
    "sma_short", "sma_medium", "sma_long", "ema_short", "ema_long", "rsi", "macd", "macd_signal", "macd_histogram",
    "bollinger_upper", "bollinger_middle", "bollinger_lower", "atr", OBV, "simple_return", "log_return",
    "realised_volatility",
)  # fmt: skip


def indicator_set(parameters: IndicatorParameters, timeframe: str) -> IndicatorSet:
    """Lay the indicators of a timeframe out.

    Raises:
        InputInvalid: bars of that length have no indicators.
    """
    if timeframe not in BARS_PER_SESSION:
        known = ", ".join(sorted(BARS_PER_SESSION))
        raise InputInvalid(f"timeframe {timeframe!r} has no indicators; name one of {known}.")
    p = parameters
    bars_per_year = SESSIONS_PER_YEAR * BARS_PER_SESSION[timeframe]
    return IndicatorSet(
        timeframe,
        (
            _sma("sma_short", p.sma_short_bars),
            _sma("sma_medium", p.sma_medium_bars),
            _sma("sma_long", p.sma_long_bars),
            _ema("ema_short", p.ema_short_bars),
            _ema("ema_long", p.ema_long_bars),
            _rsi(p.rsi_bars),
            _macd(p.macd_fast_bars, p.macd_slow_bars, p.macd_signal_bars),
            _bollinger(p.bollinger_bars, p.bollinger_width),
            _atr(p.atr_bars),
            Indicator("OBV", ("close", "volume"), (OBV,), {}, 0),
            Indicator("ROCP", ("close",), ("simple_return",), {"timeperiod": 1}, 1),
            Indicator("LN", ("close",), ("log_close",), {}, 0),
            Indicator("MOM", ("log_close",), ("log_return",), {"timeperiod": 1}, 1),
            _realised_volatility(p.volatility_bars, bars_per_year),
        ),
    )


def values(indicators: IndicatorSet, bars: StoredBars, obv_at_first: float | None = None) -> dict[str, Floats]:
    """Work every stored column out: each has the shape (N,) of the bars, with NaN where it has no value.

    `obv_at_first` says that the series is the rest of a longer one, and what the sum of volumes had come to with its
    first bar here: the sum goes on from there, and a recursive average that has not settled has no value.
    """
    known: dict[str, Floats] = {name: getattr(bars, name) for name in ("high", "low", "close", "volume")}
    for indicator in indicators.indicators:
        for name, column in zip(indicator.outputs, _call(indicator, known), strict=True):
            known[name] = column if obv_at_first is None else _continued(indicator, name, column, obv_at_first)
    return {name: known[name] for name in COLUMNS}


def _call(indicator: Indicator, known: Mapping[str, Floats]) -> tuple[Floats, ...]:
    inputs = [known[name] for name in indicator.inputs]
    given: Floats | tuple[Floats, ...] = getattr(talib, indicator.function)(*inputs, **indicator.parameters)
    return given if isinstance(given, tuple) else (given,)


def _continued(indicator: Indicator, name: str, column: Floats, obv_at_first: float) -> Floats:
    if name == OBV:
        shifted: Floats = column + (obv_at_first - column[0])
        return shifted
    if indicator.decays:
        settled: Floats = np.where(np.arange(len(column)) < indicator.settling_bars, np.nan, column)
        return settled
    return column


def _sma(name: str, bars: int) -> Indicator:
    """The mean of the last closes."""
    return Indicator("SMA", ("close",), (name,), {"timeperiod": bars}, bars - 1)


def _ema(name: str, bars: int) -> Indicator:
    """E ← E + 2/(n+1) · (close − E), begun with the mean of the first n closes."""
    return Indicator("EMA", ("close",), (name,), {"timeperiod": bars}, bars - 1, (_ema_decay(bars),))


def _rsi(bars: int) -> Indicator:
    """100 · G / (G + L), with Wilder's averages G of gains and L of losses: A ← ((n−1) · A + x) / n (Wilder 1978)."""
    return Indicator("RSI", ("close",), ("rsi",), {"timeperiod": bars}, bars, (_wilder_decay(bars),))


def _macd(fast: int, slow: int, signal: int) -> Indicator:
    """The fast EMA less the slow one, an EMA of that, and the difference of the two (Appel 1979).

    TA-Lib begins both averages at the same bar, so the fast one is not equal to an EMA that began earlier.
    """
    parameters = {"fastperiod": fast, "slowperiod": slow, "signalperiod": signal}
    names = ("macd", "macd_signal", "macd_histogram")
    decays = (_ema_decay(slow), _ema_decay(signal))
    return Indicator("MACD", ("close",), names, parameters, slow + signal - 2, decays)


def _bollinger(bars: int, width: float) -> Indicator:
    """The mean of the last closes, and so many of their standard deviations (of n, not n − 1) above and below it."""
    parameters = {"timeperiod": bars, "nbdevup": width, "nbdevdn": width}
    names = ("bollinger_upper", "bollinger_middle", "bollinger_lower")
    return Indicator("BBANDS", ("close",), names, parameters, bars - 1)


def _atr(bars: int) -> Indicator:
    """Wilder's average of the true range: the most that high, low and the close before lie apart (Wilder 1978)."""
    return Indicator("ATR", ("high", "low", "close"), ("atr",), {"timeperiod": bars}, bars, (_wilder_decay(bars),))


def _realised_volatility(bars: int, bars_per_year: int) -> Indicator:
    """The standard deviation (of n) of the last log returns, times the root of the bars in a year."""
    parameters = {"timeperiod": bars, "nbdev": math.sqrt(bars_per_year)}
    return Indicator("STDDEV", ("log_return",), ("realised_volatility",), parameters, bars)


def _ema_decay(bars: int) -> float:
    return 1 - 2 / (bars + 1)


def _wilder_decay(bars: int) -> float:
    return (bars - 1) / bars
