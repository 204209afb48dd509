"""The rules by which pairs are traded, for anything that has a z: how far it is from its mean, in deviations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, Field, model_validator

from src.services.strategy_engine.domain.decision import (
    Decision,
    Thresholds,
    TradeInHand,
    decide_about_trade,
    no_entry_by_z,
)
from src.services.strategy_engine.domain.reasons import Reason
from src.shared.domain.pairs import Direction, PairTradeState
from src.shared.domain.signals import SignalAction


class ZConfig(BaseModel):
    """What z is held against: fields for a config to derive from."""

    entry_z: float = Field(2.0, ge=0.1, le=10.0, description="Enter when |z| is above this and below stop_z.")
    exit_z: float = Field(0.5, ge=0.01, le=10.0, description="Exit when |z| is below this or its sign flipped.")
    stop_z: float = Field(3.0, ge=0.1, le=20.0, description="Stop when z is beyond this on the losing side.")

    @model_validator(mode="after")
    def _rising(self) -> ZConfig:
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(
                f"exit_z, entry_z and stop_z must rise in this order; they are "
                f"{self.exit_z}, {self.entry_z}, {self.stop_z}"
            )
        return self

    def z_thresholds(self, max_slot_age: timedelta = timedelta.max, *, overnight: bool = True) -> Thresholds:
        """Say it as the rules of a decision take it; by default neither a late slot nor the hour matters."""
        return Thresholds(self.entry_z, self.exit_z, self.stop_z, max_slot_age, overnight)


class ZState(BaseModel):
    """How long a position is held, and whether an entry has to wait until z has come back: a state to derive from."""

    held_bars: int = 0
    resting: bool = False

    def count(self, held: float) -> None:
        """Count a bar of a position, if one is held."""
        self.held_bars = self.held_bars + 1 if held else 0


@dataclass(frozen=True)
class ZRules:
    """Stop, expire, exit, enter, in this order. `time_stop_bars` is the longest that a position is held."""

    thresholds: Thresholds
    time_stop_bars: int

    def decide(self, z: float, held: float, state: ZState) -> Decision:
        """Decide by a finite z about what is held: above zero a long position, below a short one, zero none.

        A long position is taken below the mean and gains as z rises. After a stop or an expiry there is no entry
        until |z| has been below the entry again: what keeps falling is not bought anew with each bar.
        """
        if abs(z) < self.thresholds.entry_z:
            state.resting = False
        if held:
            return self._about_position(z, held, state)
        obstacle = no_entry_by_z(z, self.thresholds) or (Reason.COOL_DOWN if state.resting else None)
        if obstacle is not None:
            return SignalAction.STAY_OUT, obstacle
        return (SignalAction.ENTER_LONG if z < 0 else SignalAction.ENTER_SHORT), Reason.ENTRY_Z

    def _about_position(self, z: float, held: float, state: ZState) -> Decision:
        direction = Direction.LONG_SPREAD if held > 0 else Direction.SHORT_SPREAD
        trade = TradeInHand(direction, PairTradeState.OPEN, state.held_bars)
        action, reason = decide_about_trade(z, trade, self.thresholds, self.time_stop_bars)
        if action.is_exit:
            state.resting = action is not SignalAction.EXIT
        return action, reason
