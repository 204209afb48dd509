"""TITLE: say in one line what it does, and below where its formulas come from.

It buys a symbol while its short moving average is above its long one, and holds nothing otherwise. Change what you
like, then run `tradewinds strategy validate NAME`. What a strategy can do is told in docs/strategies.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field, model_validator

from src.services.strategy_engine.sdk import (
    Context,
    Line,
    LineChart,
    Metric,
    SlotBar,
    Strategy,
    Symbol,
    Widget,
)


class TemplateConfig(BaseModel):
    """What can be told to an instance. Bounds are enforced: a value outside of them is refused by name."""

    symbol: Symbol = Field(description="What is traded.")
    short_bars: int = Field(20, ge=2, le=500, description="Bars of the short average.")
    long_bars: int = Field(100, ge=3, le=2000, description="Bars of the long average.")
    fraction: float = Field(0.1, ge=0.01, le=1.0, description="Fraction of the capital in the position.")

    @model_validator(mode="after")
    def _short_is_shorter(self) -> TemplateConfig:
        if self.short_bars >= self.long_bars:
            raise ValueError(f"short_bars {self.short_bars} must be below long_bars {self.long_bars}")
        return self


class Template(Strategy):
    """Hold a symbol while its short moving average is above its long one."""

    CONFIG_SCHEMA = TemplateConfig
    # What is remembered from bar to bar, and over restarts: plain values with their defaults.
    STATE = {"crossings": 0}
    # What is asked for: "symbols" and "basket" by orders.target, "pairs" by orders.enter_pair and orders.exit_pair.
    TRADES = "symbols"

    def warmup_bars(self, config: TemplateConfig) -> int:
        """Say how many bars of history are read at most."""
        return config.long_bars

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Decide about one finished bar. Only `context` is to be used: no clock, no chance, no files, no network."""
        averages = _averages(context)
        if averages is None:
            # Bars are missing: say so and leave everything as it is.
            context.log("no decision: the history has gaps")
            return
        short, long = averages
        context.note(short=short, long=long)
        config = context.config
        held = context.position.fraction(config.symbol) > 0
        if (short > long) is not held:
            context.state["crossings"] += 1
            target = 0.0 if held else config.fraction
            context.orders.target(config.symbol, target, reason="CROSSED_DOWN" if held else "CROSSED_UP")

    def render(self, context: Context) -> Sequence[Widget]:
        """Show how it stands: metric, line_chart, table and text."""
        config = context.config
        series = context.closes((config.symbol,), config.long_bars)
        return [
            Metric(label="Held", value=context.position.fraction(config.symbol), unit="of capital"),
            Metric(label="Crossings", value=context.state["crossings"]),
            LineChart(
                title=f"Closes of {config.symbol}",
                x=series.ends,
                lines=(Line(name="close", values=series.column(config.symbol)),),
                unit="$",
            ),
        ]


def _averages(context: Context) -> tuple[float, float] | None:
    """Return the short and the long average, or None where a bar is missing."""
    closes = context.history(context.config.symbol, context.config.long_bars)
    if np.isnan(closes).any():
        return None
    return float(closes[-context.config.short_bars :].mean()), float(closes.mean())
