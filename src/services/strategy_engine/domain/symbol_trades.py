"""What an instance's targets come to, symbol by symbol: an entry, an exit, or nothing new.

The size is decided at the entry. A target of the same sign holds the trade as it is; zero or the other sign ends it,
and the other side is entered in a later slot, if it is asked for then. A symbol that was not named in a call stays as
it was: strategies say what they want to change. What leaves a trade without anybody to manage it ends it: the
instance is off, or no longer names the symbol.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from src.services.strategy_engine.domain.decision import DataBlock, Decision, Number
from src.services.strategy_engine.domain.instances import InstanceDecision
from src.services.strategy_engine.domain.reasons import Reason
from src.shared.domain.ids import symbol_trade_name
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import Direction, PairTradeState
from src.shared.domain.signals import SignalAction, signal_id


@dataclass(frozen=True)
class SymbolTrade:
    """The unfinished trade of an instance in a symbol; `shares` are signed, as booked, `entry_price` in dollars."""

    instance_id: str
    symbol: str
    direction: Direction
    state: PairTradeState
    slot: datetime
    shares: Decimal
    entry_price: float | None

    def fraction(self, close: float | None, equity: Decimal | None) -> float:
        """Return what it is of equity, signed, at a close, or without one at what was paid; never 0 with shares."""
        price = self.entry_price if close is None else close
        if price is None or not equity or equity <= 0:
            return math.copysign(1.0, self.shares) if self.shares else 0.0
        return float(self.shares) * price / float(equity)


@dataclass(frozen=True)
class Booked:
    """How many trades of an instance are over, and what they came to in dollars."""

    trades: int
    dollars: Decimal


@dataclass(frozen=True)
class SymbolSignal:
    """What is decided about a symbol of an instance in a slot, with the numbers it was decided from."""

    instance_id: str
    symbol: str
    slot: datetime
    mode: InstanceMode
    action: SignalAction
    reason: Reason
    held_bars: int | None
    numbers: Mapping[str, Number]

    @property
    def name(self) -> str:
        """Name what is traded, `trend:SPY`."""
        return symbol_trade_name(self.instance_id, self.symbol)

    @property
    def id(self) -> UUID:
        """Name the one signal about this symbol of the instance in the slot."""
        return signal_id(self.name, self.slot)


@dataclass(frozen=True)
class Asked:
    """What an instance asked for in a slot: the fractions by symbol, and the symbols that its config names."""

    instance_id: str
    mode: InstanceMode
    targets: Mapping[str, float]
    symbols: frozenset[str]
    config_version: int

    @classmethod
    def of(cls, decision: InstanceDecision, mode: InstanceMode, symbols: Iterable[str]) -> Asked:
        """Read it from a decision and the mode that this was stored in."""
        wishes = [wish for wish in decision.wishes if wish["kind"] == "target"]
        targets = {wish["symbol"]: float(wish["fraction"]) for wish in wishes}
        return cls(decision.instance_id, mode, targets, frozenset(symbols), decision.config_version)


@dataclass(frozen=True)
class SymbolMarket:
    """What is known of symbols in a slot: closes, what is wrong with their bars, and bars since earlier slots."""

    slot: datetime
    closes: Mapping[str, float]
    blocks: Mapping[str, DataBlock] = field(default_factory=dict)
    bars_since: Mapping[datetime, int] = field(default_factory=dict)
    equity: Decimal | None = None


def decide_symbol(
    target: float | None, trade: SymbolTrade | None, asked: Asked, symbol: str, block: DataBlock | None
) -> Decision | None:
    """Decide about one symbol; None where nothing was asked for that could be acted on, and nothing is held."""
    if trade is not None:
        return _about_trade(target, trade, asked, symbol)
    if not target or asked.mode is not InstanceMode.ACTIVE:
        return None
    if block is not None:
        return SignalAction.NO_DECISION, Reason.DATA_BLOCKED
    return (SignalAction.ENTER_LONG if target > 0 else SignalAction.ENTER_SHORT), Reason.TARGET


def _about_trade(target: float | None, trade: SymbolTrade, asked: Asked, symbol: str) -> Decision:
    if trade.state is not PairTradeState.OPEN:
        return SignalAction.HOLD, Reason.IN_MOTION
    reasons = (
        (asked.mode is InstanceMode.OFF, Reason.INSTANCE_OFF),
        (symbol not in asked.symbols, Reason.NOT_ITS_SYMBOL),
        (target == 0, Reason.TARGET_ZERO),
        (target is not None and target * trade.direction.sign < 0, Reason.TARGET_TURNED),
    )
    why = next((reason for applies, reason in reasons if applies), None)
    return (SignalAction.HOLD, Reason.HOLDING) if why is None else (SignalAction.EXIT, why)


def signals_of(asked: Asked, trades: Sequence[SymbolTrade], market: SymbolMarket) -> list[SymbolSignal]:
    """Decide about every symbol that an instance asked for or has a trade in, by symbol."""
    held = {trade.symbol: trade for trade in trades if trade.instance_id == asked.instance_id}
    found = []
    for symbol in sorted({*asked.targets, *held}):
        target, trade, block = asked.targets.get(symbol), held.get(symbol), market.blocks.get(symbol)
        decision = decide_symbol(target, trade, asked, symbol, block)
        if decision is None:
            continue
        action, reason = decision
        bars = market.bars_since.get(trade.slot) if trade else None
        numbers = _numbers(target, trade, asked, market.closes.get(symbol), market.equity, block)
        found.append(SymbolSignal(asked.instance_id, symbol, market.slot, asked.mode, action, reason, bars, numbers))
    return found


def _numbers(
    target: float | None,
    trade: SymbolTrade | None,
    asked: Asked,
    price: float | None,
    equity: Decimal | None,
    block: DataBlock | None,
) -> dict[str, Number]:
    numbers: dict[str, Number] = {
        "asked_fraction": target,
        "price": price,
        "mode": asked.mode.value,
        "config_version": asked.config_version,
    }
    if trade is not None:
        numbers |= {
            "direction": trade.direction.value,
            "trade_state": trade.state.value,
            "held_shares": str(trade.shares),
            "held_fraction": trade.fraction(price, equity),
            "equity": None if equity is None else str(equity),
        }
    if block is not None:
        numbers |= {"block_symbol": block.symbol, "block_rule": block.rule, "block_reason": block.reason}
    return numbers
