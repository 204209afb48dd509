"""Pairs: the spread of two cointegrated symbols is bought below its mean and sold above it.

The spread is ln P1 − β ln P2 − α with the parameters that the registry holds, z its distance from the rolling mean in
standard deviations. The rules themselves are `domain/spread.py` and `domain/decision.py`; this file only asks them.

Gatev, Goetzmann, Rouwenhorst, "Pairs Trading: Performance of a Relative-Value Arbitrage Rule", Review of Financial
Studies 19 (2006), traded distances between prices in this way; the hedge ratio by cointegration is Engle's and
Granger's, "Co-Integration and Error Correction", Econometrica 55 (1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from pydantic import Field

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.evaluation import Evaluation, evaluate_pairs
from src.services.strategy_engine.sdk import (
    Context,
    Line,
    LineChart,
    Metric,
    PairNames,
    SlotBar,
    Strategy,
    Table,
    Text,
    Widget,
    ZConfig,
)

_MOST_NOTED = 100
_MOST_SHOWN = 200


class PairsConfig(ZConfig):
    """Which pairs, and what z is held against."""

    pairs: PairNames = Field("all", description='Registered pairs such as KO/PEP, or "all".')
    max_slot_age_seconds: float = Field(
        900.0, ge=1.0, le=3600.0, description="A slot that is decided later than this after its end takes no entry."
    )
    overnight: bool = Field(False, description="Allow entries in the last hour before the close.")

    def thresholds(self) -> Thresholds:
        """Say it as the rules of a decision take it."""
        return self.z_thresholds(timedelta(seconds=self.max_slot_age_seconds), overnight=self.overnight)


class Pairs(Strategy):
    """Trade registered pairs: against the spread where it is far from its mean, out of it where it has come back.

    What a pair's own mode allows still limits what is asked for here.
    """

    CONFIG_SCHEMA = PairsConfig
    TRADES = "pairs"

    def on_bar(self, context: Context, bar: SlotBar) -> None:
        """Ask for what the rules say about each pair."""
        evaluations = _evaluate(context)
        for signal in (each.signal for each in evaluations):
            if signal.action.is_entry:
                context.orders.enter_pair(signal.pair_id, signal.action.direction, signal.reason)
            elif signal.action.is_exit:
                context.orders.exit_pair(signal.pair_id, signal.reason)
        actions = [each.signal.action for each in evaluations]
        context.note(
            pairs=len(evaluations), **{action.value: actions.count(action) for action in sorted(set(actions))}
        )
        context.note(**{f"z {each.signal.pair_id}": _z(each) for each in evaluations[:_MOST_NOTED]})

    def render(self, context: Context) -> Sequence[Widget]:
        """Show every pair with its z and what follows from it, the farthest from its mean first."""
        evaluations = sorted(_evaluate(context), key=lambda each: -abs(_z(each) or 0.0))
        if not evaluations:
            return [Text(text="None of its pairs is registered: discover some, or name them.")]
        open_trades = sum(each.trade is not None for each in context.pairs)
        return [
            Metric(label="Pairs", value=len(evaluations)),
            Metric(label="Open trades", value=open_trades),
            _table(evaluations),
            *_farthest(context, evaluations[0]),
        ]


def _evaluate(context: Context) -> list[Evaluation]:
    """Decide about every pair by the one set of rules."""
    watched = context.pairs
    if not watched:
        return []
    symbols = sorted({symbol for each in watched for symbol in (each.pair.symbol_1, each.pair.symbol_2)})
    series = context.closes(symbols, max(each.pair.z_window_bars for each in watched))
    return evaluate_pairs(watched, series, context.clock.time, context.config.thresholds(), context.clock.calendar)


def _z(evaluation: Evaluation) -> float | None:
    return evaluation.signal.reading.z if evaluation.signal.reading else None


def _table(evaluations: Sequence[Evaluation]) -> Table:
    rows = [
        (
            each.signal.pair_id,
            each.pair.mode.value,
            _z(each),
            each.signal.action.value,
            each.signal.reason,
            each.signal.held_bars,
        )
        for each in evaluations[:_MOST_SHOWN]
    ]
    return Table(title="Pairs", columns=("pair", "mode", "z", "action", "reason", "bars held"), rows=rows)


def _farthest(context: Context, evaluation: Evaluation) -> list[Widget]:
    """Draw the window of the pair that is farthest from its mean, in standard deviations."""
    pair, reading = evaluation.pair, evaluation.signal.reading
    if reading is None:
        return []
    series = context.closes((pair.symbol_1, pair.symbol_2), pair.z_window_bars)
    logs = np.log(series.closes)
    spread = logs[:, 0] - pair.beta * logs[:, 1] - pair.alpha
    distance = Line(name="spread", values=(spread - reading.mean) / reading.sd)
    return [LineChart(title=f"{pair.id}: distance from its mean", x=series.ends, lines=(distance,), unit="sd")]
