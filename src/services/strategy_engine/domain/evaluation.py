"""All pairs of a slot decided in one pass, each with the numbers that its decision was taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from src.services.strategy_engine.domain.decision import (
    RULES,
    Context,
    DataBlock,
    Freeze,
    Number,
    PairWish,
    Thresholds,
    TradeInHand,
    TradeState,
    decide,
)
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.spread import read_spreads
from src.shared.domain.bars import CloseSeries
from src.shared.domain.pairs import Direction, Pair, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import Signal, SpreadReading


@dataclass(frozen=True)
class UnfinishedTrade:
    """A pair trade that is not over, with its entry slot."""

    direction: Direction
    state: PairTradeState
    slot: datetime


@dataclass(frozen=True)
class Rules:
    """Under which instance a pair is traded, and its thresholds; entries only where the instance is on.

    `wish` is what that instance asked for in the slot, where it does not go by the rules of pairs.
    """

    instance: str | None
    is_on: bool
    thresholds: Thresholds
    wish: PairWish = PairWish.RULES


@dataclass(frozen=True)
class WatchedPair:
    """A pair to decide about: parameters, unfinished trade, slot of the last stop, freeze, and what its bars lack.

    `rules` are those of its instance; without them the caller's thresholds count. `fitted_to` is the last bar that
    its parameters were fitted on.
    """

    pair: Pair
    trade: UnfinishedTrade | None = None
    last_stop: datetime | None = None
    freeze: Freeze = Freeze.NONE
    block: DataBlock | None = None
    rules: Rules | None = None
    fitted_to: datetime | None = None


@dataclass(frozen=True)
class SlotTime:
    """When a slot is evaluated: `now` by the broker's clock, and the close of the slot's session."""

    slot: datetime
    now: datetime
    close: datetime

    @property
    def age(self) -> timedelta:
        """How long the slot is over."""
        return self.now - self.slot

    @property
    def left(self) -> timedelta:
        """How long the session still lasts."""
        return self.close - self.now


@dataclass(frozen=True)
class Evaluation:
    """A signal with the pair it is about and every number that it was taken from (JSON values)."""

    signal: Signal
    pair: Pair
    numbers: Mapping[str, Number]


def evaluate_pairs(
    watched: Sequence[WatchedPair],
    series: CloseSeries,
    time: SlotTime,
    thresholds: Thresholds,
    calendar: TradingCalendar,
) -> list[Evaluation]:
    """Decide about every pair at the slot, in the order given."""
    readings = read_spreads(series, [each.pair for each in watched], time.slot)
    states = _trade_states(watched, time.slot, calendar)
    shared = {"rules": RULES, **_time_numbers(time, series)}
    evaluations = []
    for each, reading, state in zip(watched, readings, states, strict=True):
        pair, rules = each.pair, each.rules or Rules(None, is_on=True, thresholds=thresholds)
        context = Context(pair, time.age, time.left, rules.is_on, rules.wish)
        action, reason = decide(reading, state, rules.thresholds, context)
        known = None if isinstance(reading, Reason) else reading
        held = state.trade.held_bars if state.trade else None
        signal = Signal(pair.id, time.slot, action, reason.value, known, held)
        numbers = {
            **_reading_numbers(known),
            **_pair_numbers(each),
            **_state_numbers(state),
            **_rules_numbers(rules),
            **shared,
        }
        evaluations.append(Evaluation(signal, pair, numbers))
    return evaluations


def symbols_of(watched: Sequence[WatchedPair]) -> list[str]:
    """List the symbols of pairs, each once, sorted."""
    return sorted({symbol for each in watched for symbol in (each.pair.symbol_1, each.pair.symbol_2)})


def _trade_states(watched: Sequence[WatchedPair], slot: datetime, calendar: TradingCalendar) -> list[TradeState]:
    earlier = {each.trade.slot for each in watched if each.trade} | {each.last_stop for each in watched}
    held = {moment: calendar.bars_between_slots(moment, slot) for moment in earlier if moment is not None}
    return [
        TradeState(
            trade=TradeInHand(each.trade.direction, each.trade.state, held[each.trade.slot]) if each.trade else None,
            bars_since_stop=held[each.last_stop] if each.last_stop else None,
            freeze=each.freeze,
            block=each.block,
        )
        for each in watched
    ]


def _reading_numbers(reading: SpreadReading | None) -> dict[str, Number]:
    if reading is None:
        return {}
    return {
        "price_1": reading.price_1,
        "price_2": reading.price_2,
        "spread": reading.spread,
        "mean": reading.mean,
        "sd": reading.sd,
        "z": reading.z,
    }


def _pair_numbers(watched: WatchedPair) -> dict[str, Number]:
    pair = watched.pair
    return {
        "alpha": pair.alpha,
        "beta": pair.beta,
        "half_life_bars": pair.half_life_bars,
        "window_bars": pair.z_window_bars,
        "time_stop_bars": pair.time_stop_bars,
        "mode": pair.mode.value,
        "fitted_to": watched.fitted_to.isoformat() if watched.fitted_to else None,
    }


def _state_numbers(state: TradeState) -> dict[str, Number]:
    trade = state.trade
    return {
        "direction": trade.direction.value if trade else None,
        "trade_state": trade.state.value if trade else None,
        "held_bars": trade.held_bars if trade else None,
        "bars_since_stop": state.bars_since_stop,
        "freeze": state.freeze.value,
        **_block_numbers(state.block),
    }


def _block_numbers(block: DataBlock | None) -> dict[str, Number]:
    if block is None:
        return {}
    said = {"block_symbol": block.symbol, "block_rule": block.rule, "block_reason": block.reason}
    return {**said, **{f"block_{name}": value for name, value in block.numbers.items()}}


def _rules_numbers(rules: Rules) -> dict[str, Number]:
    thresholds = rules.thresholds
    asked: dict[str, Number] = {} if rules.wish is PairWish.RULES else {"wish": rules.wish.value}
    return {
        **asked,
        "instance": rules.instance,
        "instance_on": rules.is_on,
        "entry_z": thresholds.entry_z,
        "exit_z": thresholds.exit_z,
        "stop_z": thresholds.stop_z,
        "max_slot_age_seconds": thresholds.max_slot_age.total_seconds(),
        "overnight": thresholds.overnight,
    }


def _time_numbers(time: SlotTime, series: CloseSeries) -> dict[str, Number]:
    return {
        "slot_age_seconds": time.age.total_seconds(),
        "seconds_to_close": time.left.total_seconds(),
        "first_bar_end": series.ends[0].isoformat() if series.ends else None,
        "last_bar_end": series.ends[-1].isoformat() if series.ends else None,
    }
