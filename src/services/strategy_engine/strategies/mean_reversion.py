"""Mean reversion of one symbol: bought far below the rolling mean of its log price, sold where it has come back.

    z = (ln P[t] − mean) / sd    over the last `window_bars` closes, the newest included, sd with ddof = 1

The rules are those of pairs, in their order: stop beyond `stop_z` on the losing side; expire after `max_held_bars`;
exit within `exit_z` of the mean or past it; enter beyond `entry_z`, but not beyond `stop_z`. After a stop or expiry
there is no entry until z has been within `entry_z` again, so that a price that keeps falling is not bought each bar.

The bands are those of Bollinger, "Bollinger on Bollinger Bands" (2001), on log prices. A single price need not revert
at all (the spread of a pair was tested for it): watch before you trust it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from src.services.strategy_engine.sdk import (
    Context,
    Line,
    LineChart,
    Metric,
    SignalAction,
    SlotBar,
    Strategy,
    Symbol,
    Text,
    Widget,
    ZConfig,
    ZRules,
    ZState,
)

# A hundredth of a cent on a price of a million; below it there is only rounding.
LEAST_SD = 1e-10


class MeanReversionConfig(ZConfig):
    """Which symbol, against which mean, how much."""

    symbol: Symbol = Field(description="What is traded.")
    window_bars: int = Field(70, ge=5, le=2000, description="Closes of which mean and deviation are taken.")
    max_held_bars: int = Field(35, ge=1, le=5000, description="Leave after so many bars.")
    fraction: float = Field(0.1, ge=0.01, le=1.0, description="Fraction of the capital in a position.")
    allow_short: bool = Field(False, description="Also sell short what is far above its mean.")


class MeanReversion(Strategy):
    """Buy one symbol far below its rolling mean, and sell it where it has come back."""

    CONFIG_SCHEMA = MeanReversionConfig
    STATE = ZState
    TRADES = "symbols"

    def warmup_bars(self, config: MeanReversionConfig) -> int:
        """Need one window."""
        return config.window_bars

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Leave a position by the rules, or take one."""
        z, config, state = _z(context), context.config, context.state
        held = context.position.fraction(config.symbol)
        state.count(held)
        context.note(z=z, held=held, held_bars=state.held_bars)
        if z is None:
            context.log(f"{config.symbol} has no full window of {config.window_bars} closes that move: no decision")
            return
        action, reason = ZRules(config.z_thresholds(), config.max_held_bars).decide(z, held, state)
        context.note(action=action.value, reason=reason.value)
        if action.is_exit:
            context.orders.target(config.symbol, 0.0, reason)
        elif action is SignalAction.ENTER_LONG:
            context.orders.target(config.symbol, config.fraction, reason)
        elif action is SignalAction.ENTER_SHORT and config.allow_short:
            context.orders.target(config.symbol, -config.fraction, reason)

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
