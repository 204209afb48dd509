"""The decision of one slot about one pair: stop, expire, exit, entry, in this order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from src.services.strategy_engine.domain.reasons import Reason
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState
from src.shared.domain.signals import SignalAction, SpreadReading

RULES = 1
"""Which rules decide; each decision keeps it. A change by which the same inputs come out differently adds one."""

LAST_HOUR = timedelta(hours=1)

Decision = tuple[SignalAction, Reason]
Number = float | int | str | bool | None


@dataclass(frozen=True)
class Thresholds:
    """What z is held against (exit < entry < stop), and what a late cycle may still do."""

    entry_z: float
    exit_z: float
    stop_z: float
    max_slot_age: timedelta
    overnight: bool


class PairWish(StrEnum):
    """Who decides about a pair: the rules of pairs, or a strategy of somebody's own by what it asks for in a slot."""

    RULES = "rules"
    NOTHING = "nothing"
    ENTER_LONG = "enter_long"
    ENTER_SHORT = "enter_short"
    EXIT = "exit"


class Freeze(StrEnum):
    """What a company's action leaves of a pair until it is re-based: `basis_lost` means that z says nothing."""

    NONE = "none"
    NO_ENTRY = "no_entry"
    BASIS_LOST = "basis_lost"


@dataclass(frozen=True)
class DataBlock:
    """What is wrong with a symbol's bars, so that no trade may be opened on them: rule, reason and its numbers."""

    symbol: str
    rule: str
    reason: str
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class TradeInHand:
    """The unfinished trade of a pair; `held_bars` counts bars of session time since its entry slot."""

    direction: Direction
    state: PairTradeState
    held_bars: int


@dataclass(frozen=True)
class TradeState:
    """The pair's unfinished trade, if any, and bars of session time since it was last stopped, if ever.

    `block` is what is wrong with the bars of a leg.
    """

    trade: TradeInHand | None = None
    bars_since_stop: int | None = None
    freeze: Freeze = Freeze.NONE
    block: DataBlock | None = None


@dataclass(frozen=True)
class Context:
    """Whose decision it is, how long after the slot it is taken and how long before the close.

    `instance_on` says whether an instance that is on trades the pair; without one there is no entry. `wish` is what a
    strategy of somebody's own asked for, where it decides.
    """

    pair: Pair
    slot_age: timedelta
    time_to_close: timedelta
    instance_on: bool = True
    wish: PairWish = PairWish.RULES


def decide(reading: SpreadReading | Reason, state: TradeState, thresholds: Thresholds, context: Context) -> Decision:
    """Decide about one pair in one slot.

    `reading` is a reason where there is no basis for a decision. What closes a trade depends neither on the pair's
    mode nor on how late it is, nor on what is said of its bars. An entry of a pair in observe keeps its action and
    says OBSERVED_ENTRY_Z. A strategy of somebody's own enters and exits instead of z; stop and expiry stay.
    """
    if state.freeze is Freeze.BASIS_LOST or (state.freeze is Freeze.NO_ENTRY and state.trade is None):
        return SignalAction.NO_DECISION, Reason.FROZEN
    if state.block is not None and state.trade is None:
        return SignalAction.NO_DECISION, Reason.DATA_BLOCKED
    if isinstance(reading, Reason) or not math.isfinite(reading.z):
        return SignalAction.NO_DECISION, reading if isinstance(reading, Reason) else Reason.NOT_FINITE
    if context.wish is not PairWish.RULES:
        return _as_asked(reading.z, state, thresholds, context)
    if state.trade is None:
        return _about_entry(reading.z, state, thresholds, context)
    return decide_about_trade(reading.z, state.trade, thresholds, context.pair.time_stop_bars)


def _as_asked(z: float, state: TradeState, thresholds: Thresholds, context: Context) -> Decision:
    """Do what was asked for, within what protects a trade and what stands against an entry."""
    if state.trade is not None:
        protected = decide_about_trade(z, state.trade, thresholds, context.pair.time_stop_bars)
        if protected[1] in (Reason.IN_MOTION, Reason.STOP_Z, Reason.TIME_STOP):
            return protected
        is_left = context.wish is PairWish.EXIT
        return (SignalAction.EXIT, Reason.ASKED) if is_left else (SignalAction.HOLD, Reason.HOLDING)
    if context.wish not in _ENTRIES:
        return SignalAction.STAY_OUT, Reason.NOT_ASKED
    action = _ENTRIES[context.wish]
    if z * action.direction.sign < -thresholds.stop_z:
        return SignalAction.STAY_OUT, Reason.BEYOND_STOP
    obstacle = _no_entry_now(state, thresholds, context)
    return (action, Reason.ASKED) if obstacle is None else (SignalAction.STAY_OUT, obstacle)


def decide_about_trade(z: float, trade: TradeInHand, thresholds: Thresholds, time_stop_bars: int) -> Decision:
    """Decide whether a trade is left, and why: stop, expire, exit, in this order. `z` is finite."""
    # Only a whole, open trade can be told to close; execution is already at work on any other.
    if trade.state is not PairTradeState.OPEN:
        return SignalAction.HOLD, Reason.IN_MOTION
    # A long spread is entered below the mean: it gains as z rises and loses as z falls.
    gain_side_z = z * trade.direction.sign
    if gain_side_z < -thresholds.stop_z:
        return SignalAction.STOP, Reason.STOP_Z
    if trade.held_bars >= time_stop_bars:
        return SignalAction.EXPIRE, Reason.TIME_STOP
    if abs(z) < thresholds.exit_z:
        return SignalAction.EXIT, Reason.EXIT_Z
    if gain_side_z > 0:
        return SignalAction.EXIT, Reason.SIGN_FLIPPED
    return SignalAction.HOLD, Reason.HOLDING


_ENTRIES = {PairWish.ENTER_LONG: SignalAction.ENTER_LONG, PairWish.ENTER_SHORT: SignalAction.ENTER_SHORT}


def _about_entry(z: float, state: TradeState, thresholds: Thresholds, context: Context) -> Decision:
    obstacle = no_entry_by_z(z, thresholds) or _no_entry_now(state, thresholds, context)
    if obstacle is not None:
        return SignalAction.STAY_OUT, obstacle
    action = SignalAction.ENTER_LONG if z < 0 else SignalAction.ENTER_SHORT
    observed = context.pair.mode is PairMode.OBSERVE
    return action, Reason.OBSERVED_ENTRY_Z if observed else Reason.ENTRY_Z


def no_entry_by_z(z: float, thresholds: Thresholds) -> Reason | None:
    """Say what of z itself stands against an entry, if anything: it is too near the mean, or beyond the stop."""
    if not abs(z) > thresholds.entry_z:
        return Reason.BELOW_ENTRY
    return None if abs(z) < thresholds.stop_z else Reason.BEYOND_STOP


def _no_entry_now(state: TradeState, thresholds: Thresholds, context: Context) -> Reason | None:
    pair = context.pair
    if pair.mode not in (PairMode.ACTIVE, PairMode.OBSERVE):
        return Reason.NOT_ACTIVE
    if not context.instance_on:
        return Reason.INSTANCE_OFF
    if state.bars_since_stop is not None and state.bars_since_stop < pair.half_life_bars:
        return Reason.COOL_DOWN
    if context.slot_age > thresholds.max_slot_age:
        return Reason.LATE_SLOT
    if context.time_to_close <= LAST_HOUR and not thresholds.overnight:
        return Reason.LAST_HOUR
    return None
