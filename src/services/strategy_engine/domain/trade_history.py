"""Where a pair trade stood at an earlier time, from what was said of it then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from src.services.strategy_engine.domain.evaluation import UnfinishedTrade
from src.shared.domain.pairs import FINISHED_TRADES, Direction, PairTradeState


@dataclass(frozen=True)
class TradeStep:
    """A state that a trade came into, and when that was written down."""

    at: datetime
    state: PairTradeState


@dataclass(frozen=True)
class TradeHistory:
    """A pair trade, when it was written down, and its steps, oldest first.

    `state` is where it stands now: all that is known of a trade without steps.
    """

    direction: Direction
    slot: datetime
    began: datetime
    state: PairTradeState
    steps: tuple[TradeStep, ...]

    def unfinished_at(self, moment: datetime) -> UnfinishedTrade | None:
        """Return the trade as it stood at a moment; None before its beginning, and once it was over.

        One that a late fill brought back after its end does not count: it is sold again beside the pair's next trade.
        """
        if moment < self.began:
            return None
        states = [step.state for step in self.steps if step.at <= moment] if self.steps else [self.state]
        if not states or any(state in FINISHED_TRADES for state in states):
            return None
        return UnfinishedTrade(self.direction, states[-1], self.slot)


def unfinished_at(histories: Sequence[TradeHistory], moment: datetime) -> UnfinishedTrade | None:
    """Return the one unfinished trade that a pair had at a moment."""
    found = (history.unfinished_at(moment) for history in histories)
    return next((trade for trade in found if trade is not None), None)


def step_times(histories: Sequence[TradeHistory], after: datetime, until: datetime) -> list[datetime]:
    """List when a trade took a step within (after, until], the latest first."""
    times = {step.at for history in histories for step in history.steps}
    return sorted((time for time in times if after < time <= until), reverse=True)
