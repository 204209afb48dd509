"""Mean reversion of one symbol: bought far below the rolling mean of its log price, sold where it has come back.

    z = (ln P[t] − mean) / sd    over the last `window_bars` closes, the newest included, sd with ddof = 1

The rules in their order: stop beyond `stop_z` on the losing side; expire after `max_held_bars`; exit within `exit_z` of
the mean or beyond it; enter beyond `entry_z`, but not beyond `stop_z`. After a stop or an expiry no entry until z has
been within `entry_z` again, so that a price that keeps falling is not bought anew each bar.

The bands are those of Bollinger, "Bollinger on Bollinger Bands" (2001), on log prices. A single price need not revert
at all (the spread of a pair was tested for it): watch before you trust it.
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
    Text,
    Widget,
)

# A hundredth of a cent on a price of a million; below it there is only rounding.
LEAST_SD = 1e-10


class MeanReversionConfig(BaseModel):
    """Which symbol, against which mean, how far."""

    symbol: Symbol = Field(description="What is traded.")
    window_bars: int = Field(70, ge=5, le=2000, description="Closes of which mean and deviation are taken.")
    entry_z: float = Field(2.0, ge=0.1, le=10.0, description="Enter when |z| is above this and below stop_z.")
    exit_z: float = Field(0.5, ge=0.0, le=10.0, description="Exit when |z| is below this or its sign flipped.")
    stop_z: float = Field(4.0, ge=0.1, le=20.0, description="Stop when z is beyond this on the losing side.")
    max_held_bars: int = Field(35, ge=1, le=5000, description="Leave after so many bars.")
    fraction: float = Field(0.1, ge=0.01, le=1.0, description="Fraction of the capital in a position.")
    allow_short: bool = Field(False, description="Also sell short what is far above its mean.")

    @model_validator(mode="after")
    def _rising(self) -> MeanReversionConfig:
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(
                f"exit_z, entry_z and stop_z must rise in this order; they are "
                f"{self.exit_z}, {self.entry_z}, {self.stop_z}"
            )
        return self


class State(BaseModel):
    """How long the position is held, and whether an entry has to wait until z has come back."""

    held_bars: int = 0
    resting: bool = False


class MeanReversion(Strategy):
    """Buy one symbol far below its rolling mean, and sell it where it has come back."""

    CONFIG_SCHEMA = MeanReversionConfig
    STATE = State
    TRADES = "symbols"

    def warmup_bars(self, config: MeanReversionConfig) -> int:
        """Need one window."""
        return config.window_bars

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Leave a position by the rules, or take one."""
        z, config, state = _z(context), context.config, context.state
        held = context.position.fraction(config.symbol)
        state.held_bars = state.held_bars + 1 if held else 0
        context.note(z=z, held=held, held_bars=state.held_bars)
        if z is None:
            context.log(f"{config.symbol} has no full window of {config.window_bars} closes that move: no decision")
            return
        if abs(z) < config.entry_z:
            state.resting = False
        if held:
            _leave(context, z, held)
        else:
            _enter(context, z)

    def render(self, context: Context) -> Sequence[Widget]:
        """Show z, what is held, and the closes of the window with the bands of entry around their mean."""
        z, config = _z(context), context.config
        held = context.position.fraction(config.symbol)
        figures: list[Widget] = [Metric(label="z", value=z), Metric(label="Held", value=held, unit="of capital")]
        if z is None:
            return [
                *figures,
                Text(text=f"{config.symbol} has no full window of {config.window_bars} closes that move."),
            ]
        series = context.closes((config.symbol,), config.window_bars)
        logs = np.log(series.column(config.symbol))
        mean, sd = float(logs.mean()), float(logs.std(ddof=1))
        levels = {"mean": mean, "lower band": mean - config.entry_z * sd, "upper band": mean + config.entry_z * sd}
        flat = [Line(name=name, values=np.full(len(logs), np.exp(level))) for name, level in levels.items()]
        closes = Line(name="close", values=series.column(config.symbol))
        return [*figures, LineChart(title=config.symbol, x=series.ends, lines=(closes, *flat), unit="$")]


def _z(context: Context) -> float | None:
    """How far the last log close is from the mean of its window; None without a full window that moves."""
    closes = context.history(context.config.symbol, context.config.window_bars)
    if not (np.isfinite(closes).all() and (closes > 0).all()):
        return None
    logs = np.log(closes)
    sd = float(logs.std(ddof=1))
    return float(logs[-1] - logs.mean()) / sd if sd > LEAST_SD else None


def _leave(context: Context, z: float, held: float) -> None:
    config, state = context.config, context.state
    # A long position is taken below the mean: it gains as z rises.
    gain_side_z = z if held > 0 else -z
    if gain_side_z < -config.stop_z:
        reason = "STOP_Z"
    elif state.held_bars >= config.max_held_bars:
        reason = "TIME_STOP"
    elif abs(z) < config.exit_z:
        reason = "EXIT_Z"
    elif gain_side_z > 0:
        reason = "SIGN_FLIPPED"
    else:
        return
    state.resting = reason in ("STOP_Z", "TIME_STOP")
    state.held_bars = 0
    context.orders.target(config.symbol, 0.0, reason=reason)
    context.log(f"{reason}: out of {config.symbol} at z = {z:.2f}")


def _enter(context: Context, z: float) -> None:
    config = context.config
    if not config.entry_z < abs(z) < config.stop_z or context.state.resting:
        return
    if z > 0 and not config.allow_short:
        return
    context.orders.target(config.symbol, config.fraction if z < 0 else -config.fraction, reason="ENTRY_Z")
    context.log(f"ENTRY_Z: {'buy' if z < 0 else 'sell short'} {config.symbol} at z = {z:.2f}")
