"""A basket of three or more symbols whose log prices hold together, traded as one spread.

    spread = Σ weight[i] · ln P[i]    weights by Johansen's test, as shares of the gross: Σ |weight| = 1
    z      = (spread[t] − mean) / sd  over the fit's window, the newest bar included, sd with ddof = 1

The weights are fitted on the last `fit_bars` and kept until the next fit, which waits until nothing is held. A fit
that is judged bad (no relation between the legs, a half-life out of bounds) takes no entry. The rules on z are those
of pairs; the time stop is three half-lives.

Johansen, "Estimation and Hypothesis Testing of Cointegration Vectors in Gaussian Vector Autoregressive Models",
Econometrica 59 (1991). Baskets are observed: execution trades two legs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field

from src.services.strategy_engine.domain.johansen import LEAST_LEGS, MOST_LEGS, fit_basket
from src.services.strategy_engine.sdk import (
    Context,
    Different,
    Floats,
    Line,
    LineChart,
    Metric,
    SlotBar,
    Strategy,
    Symbol,
    Table,
    Text,
    Widget,
    ZConfig,
    ZRules,
    ZState,
)
from src.shared.domain.errors import InputInvalid

# A hundredth of a cent on a price of a million; below it there is only rounding.
LEAST_SD = 1e-10


class BasketConfig(ZConfig):
    """Which legs, fitted on how much, held how."""

    symbols: Annotated[
        tuple[Symbol, ...],
        Field(min_length=LEAST_LEGS, max_length=MOST_LEGS, description="The legs, three to twelve."),
        Different(),
    ]
    fit_bars: int = Field(500, ge=100, le=4000, description="Bars on which the weights are fitted.")
    refit_bars: int = Field(490, ge=1, le=5000, description="Bars after which a fit is made anew.")
    fraction: float = Field(0.3, ge=0.01, le=1.0, description="Gross of all legs as a fraction of the capital.")


class Fit(BaseModel):
    """What is kept of a fit: weights, z window, time stop, half-life (None: it does not revert) and objections."""

    weights: list[float]
    window_bars: int
    time_stop_bars: int
    half_life_bars: float | None
    objections: list[str]


class BasketState(ZState):
    """The fit in force, and for how many bars it has been."""

    fit: Fit | None = None
    fit_age_bars: int = 0


@dataclass(frozen=True)
class Reading:
    """The spread over its window, shape (W,), with mean, sd and z of the last bar."""

    spread: Floats
    mean: float
    sd: float
    z: float


class Basket(Strategy):
    """Trade a basket that Johansen's test finds cointegrated: against its spread, and out where it has come back."""

    CONFIG_SCHEMA = BasketConfig
    STATE = BasketState
    TRADES = "basket"

    def warmup_bars(self, config: BasketConfig) -> int:
        """Need what a fit is made of."""
        return config.fit_bars

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Fit where it is due, and do what the rules say about z."""
        state, held = context.state, _held(context)
        state.fit_age_bars += 1
        if state.fit is None or (state.fit_age_bars >= context.config.refit_bars and not held):
            _fit(context)
        state.count(held)
        reading = _read(context)
        if reading is None:
            context.log("no decision: there is no fit, or its window is not full")
            return
        rules = ZRules(context.config.z_thresholds(), state.fit.time_stop_bars)
        action, reason = rules.decide(reading.z, held, state)
        context.note(z=reading.z, mean=reading.mean, sd=reading.sd, action=action.value, reason=reason.value)
        if action.is_exit:
            _hold(context, 0.0, reason)
        elif action.is_entry and not state.fit.objections:
            _hold(context, action.direction.sign * context.config.fraction, reason)

    def render(self, context: Context) -> Sequence[Widget]:
        """Show z, the fit with its weights, and how far the spread has been from its mean."""
        fit = context.state.fit
        if fit is None:
            return [Text(text=f"No fit yet: it takes {context.config.fit_bars} common bars of all legs.")]
        rows = [
            (symbol, weight, context.prices.get(symbol), context.position.fraction(symbol))
            for symbol, weight in zip(context.symbols, fit.weights, strict=True)
        ]
        reading = _read(context)
        return [
            Metric(label="z", value=reading.z if reading else None),
            Metric(label="Half-life", value=fit.half_life_bars, unit="bars"),
            Metric(label="Objections", value=", ".join(fit.objections) or "none"),
            Table(title="Legs", columns=("symbol", "weight", "price", "held"), rows=rows),
            *_chart(context, reading),
        ]


def _held(context: Context) -> float:
    """Say which way the spread is held: above zero long, below short."""
    fit = context.state.fit
    if fit is None:
        return 0.0
    held = [context.position.fraction(symbol) for symbol in context.symbols]
    return float(np.dot(held, fit.weights))


def _fit(context: Context) -> None:
    """Fit the weights; where that can't be done the last fit stays, and it is tried again at the next bar."""
    try:
        found = fit_basket(context.closes(context.symbols, context.config.fit_bars).closes)
    except InputInvalid as error:
        context.log(f"not fitted: {error}")
        return
    reverts = bool(np.isfinite(found.half_life_bars))
    context.state.fit = Fit(
        weights=list(found.weights),
        window_bars=found.z_window_bars,
        time_stop_bars=found.time_stop_bars,
        half_life_bars=found.half_life_bars if reverts else None,
        objections=[reason.value for reason in found.reasons],
    )
    context.state.fit_age_bars = 0
    context.log(f"fitted: {found.relations} relations, {', '.join(context.state.fit.objections) or 'no objections'}")


def _read(context: Context) -> Reading | None:
    fit = context.state.fit
    if fit is None:
        return None
    closes = context.closes(context.symbols, fit.window_bars).closes
    if len(closes) < fit.window_bars or not (np.isfinite(closes).all() and (closes > 0).all()):
        return None
    spread: Floats = np.log(closes) @ np.array(fit.weights)
    mean, sd = float(spread.mean()), float(spread.std(ddof=1))
    return Reading(spread, mean, sd, float(spread[-1] - mean) / sd) if sd > LEAST_SD else None


def _hold(context: Context, gross: float, reason: str) -> None:
    """Ask for every leg in its share of a signed gross."""
    for symbol, weight in zip(context.symbols, context.state.fit.weights, strict=True):
        context.orders.target(symbol, gross * weight, reason)


def _chart(context: Context, reading: Reading | None) -> list[Widget]:
    if reading is None:
        return []
    ends = context.closes(context.symbols, len(reading.spread)).ends
    distance = Line(name="spread", values=(reading.spread - reading.mean) / reading.sd)
    return [LineChart(title="Distance from the mean", x=ends, lines=(distance,), unit="sd")]
