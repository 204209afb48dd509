"""Momentum of each symbol in time: what rose is held long, what fell is held short, sized by its volatility.

    r        = ln(P[t − skip] / P[t − lookback])
    sigma    = sd of the last `volatility_bars` log returns (ddof = 1) · √(bars a year)
    fraction = sign(r) · target_volatility / sigma / number of symbols, clamped to ± max_fraction

Moskowitz, Ooi, Pedersen, "Time Series Momentum", Journal of Financial Economics 104 (2012), hold each instrument by
the sign of its own past return and scale it to a constant volatility. They look back twelve months and act monthly;
the bars here are hourly, and so are the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, model_validator

from src.services.strategy_engine.sdk import (
    Context,
    Floats,
    Line,
    LineChart,
    SlotBar,
    Strategy,
    Symbols,
    Table,
    Widget,
)

BARS_A_YEAR = 252 * 7
"""Hourly bars of the exchange: seven in a full session."""

LEAST_COVERAGE = 0.9
"""Share of the prices that there must be for a volatility: an hour without a trade does no harm."""


class MomentumConfig(BaseModel):
    """Which symbols, over how long, how much."""

    symbols: Symbols = Field(description="What is held, each by itself.")
    lookback_bars: int = Field(420, ge=2, le=4000, description="Bars over which the past return is taken.")
    skip_bars: int = Field(0, ge=0, le=500, description="Newest bars left out of it, where reversal is feared.")
    volatility_bars: int = Field(140, ge=5, le=2000, description="Returns from which the volatility is taken.")
    target_volatility: float = Field(0.15, ge=0.01, le=1.0, description="Volatility a year aimed at, 0.15 for 15 %.")
    max_fraction: float = Field(0.25, ge=0.01, le=1.0, description="Most of the capital in one symbol.")
    rebalance_bars: int = Field(7, ge=1, le=500, description="Bars between two looks; 7 is once a session.")
    allow_short: bool = Field(True, description="Off: a symbol that fell is not held at all.")

    @model_validator(mode="after")
    def _skips_less_than_it_looks_back(self) -> MomentumConfig:
        if self.skip_bars >= self.lookback_bars:
            raise ValueError(f"skip_bars {self.skip_bars} must be below lookback_bars {self.lookback_bars}")
        return self


class Momentum(Strategy):
    """Hold each symbol in the direction of its own past return, scaled to a constant volatility."""

    CONFIG_SCHEMA = MomentumConfig
    STATE = {"bars_to_wait": 0}
    TRADES = "symbols"

    def warmup_bars(self, config: MomentumConfig) -> int:
        """Need the longer of the two windows."""
        return _bars(config)

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Set the targets anew every `rebalance_bars`; a symbol without the history for it keeps what it has."""
        if context.state["bars_to_wait"] > 0:
            context.state["bars_to_wait"] -= 1
            return
        context.state["bars_to_wait"] = context.config.rebalance_bars - 1
        for symbol in context.symbols:
            past_return, volatility, fraction = _wanted(context, symbol)
            context.note(**{f"return {symbol}": past_return, f"volatility {symbol}": volatility})
            if fraction is None:
                context.log(
                    f"{symbol}: prices are missing among its {_bars(context.config)} bars, nothing is changed"
                )
            else:
                context.orders.target(symbol, fraction, reason="LONG" if fraction > 0 else "SHORT_OR_FLAT")

    def render(self, context: Context) -> Sequence[Widget]:
        """Show the signal of each symbol, and its prices over the time that is looked back on."""
        rows = [(symbol, *_wanted(context, symbol), context.position.fraction(symbol)) for symbol in context.symbols]
        columns = ("symbol", "past return", "volatility a year", "wanted", "held")
        return [Table(title="Momentum", columns=columns, rows=rows), *_chart(context)]


def _wanted(context: Context, symbol: str) -> tuple[float | None, float | None, float | None]:
    """Return past return, volatility a year and wanted fraction; all None where the history does not give them."""
    config = context.config
    prices = context.history(symbol, _bars(config))
    newest, oldest = prices[-1 - config.skip_bars], prices[-1 - config.lookback_bars]
    volatility = _volatility(prices[-1 - config.volatility_bars :])
    if volatility is None or not (newest > 0 and oldest > 0):
        return None, None, None
    past_return = math.log(newest / oldest)
    return past_return, volatility, _fraction(past_return, volatility, len(context.symbols), config)


def _bars(config: MomentumConfig) -> int:
    # One price more than there are returns.
    return max(config.lookback_bars, config.volatility_bars) + 1


def _volatility(prices: Floats) -> float | None:
    """Return the volatility a year; None where too many prices are missing. Neighbours of a gap are neighbours."""
    known = prices[prices > 0]
    if len(known) < LEAST_COVERAGE * len(prices):
        return None
    return float(np.std(np.diff(np.log(known)), ddof=1)) * math.sqrt(BARS_A_YEAR)


def _fraction(past_return: float, volatility: float, symbols: int, config: Any) -> float:
    # A price that never moves has no volatility to scale by, and no momentum either.
    if volatility <= 0.0 or past_return == 0.0 or (past_return < 0.0 and not config.allow_short):
        return 0.0
    size = min(config.target_volatility / volatility / symbols, config.max_fraction)
    return math.copysign(size, past_return)


def _chart(context: Context) -> list[Widget]:
    shown = context.symbols[:8]
    series = context.closes(shown, context.config.lookback_bars)
    if not series.ends:
        return []
    lines = tuple(Line(name=symbol, values=series.column(symbol)) for symbol in shown)
    return [LineChart(title="Closes", x=series.ends, lines=lines, unit="$")]
