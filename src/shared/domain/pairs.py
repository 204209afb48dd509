"""Pairs: two symbols, the parameters frozen when they were found, and the life of a pair and of its trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from src.shared.domain.errors import InvalidTransition
from src.shared.domain.ids import pair_id


class PairMode(StrEnum):
    """Where a pair stands in its life. Exits and stops never depend on it."""

    CANDIDATE = "candidate"
    OBSERVE = "observe"
    ACTIVE = "active"
    CLOSING = "closing"
    RETIRED = "retired"


class FoundBy(StrEnum):
    """Who brought a pair up: a person who named it, or discovery."""

    PERSON = "person"
    DISCOVERY = "discovery"


@dataclass(frozen=True)
class Pair:
    """A pair with its frozen parameters: spread = ln P1 − beta · ln P2 − alpha."""

    symbol_1: str
    symbol_2: str
    alpha: float
    beta: float
    half_life_bars: float
    z_window_bars: int
    time_stop_bars: int
    mode: PairMode

    @property
    def id(self) -> str:
        """Name the pair, `SPY/QQQ`."""
        return pair_id(self.symbol_1, self.symbol_2)


class Direction(StrEnum):
    """Long spread buys leg 1 and sells leg 2 short; short spread the reverse."""

    LONG_SPREAD = "long_spread"
    SHORT_SPREAD = "short_spread"

    @property
    def sign(self) -> int:
        """+1 for long spread, −1 for short spread: the sign of leg 1's quantity."""
        return 1 if self is Direction.LONG_SPREAD else -1

    def words(self, *, in_pair: bool) -> str:
        """Say it to people: what is traded in one symbol has no spread."""
        return self.value.replace("_", " ") if in_pair else self.value.partition("_")[0]


class PairTradeState(StrEnum):
    """Where a pair trade stands."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    UNWINDING = "unwinding"
    UNWOUND = "unwound"
    ABANDONED = "abandoned"
    ORPHANED = "orphaned"


PAIR_TRADE_TRANSITIONS: Mapping[PairTradeState, frozenset[PairTradeState]] = {
    PairTradeState.OPENING: frozenset({PairTradeState.OPEN, PairTradeState.UNWINDING, PairTradeState.ABANDONED}),
    PairTradeState.OPEN: frozenset({PairTradeState.CLOSING}),
    PairTradeState.CLOSING: frozenset({PairTradeState.CLOSED, PairTradeState.ORPHANED}),
    PairTradeState.UNWINDING: frozenset({PairTradeState.UNWOUND, PairTradeState.ORPHANED}),
    # A person or a later pass gets it moving again.
    PairTradeState.ORPHANED: frozenset({PairTradeState.UNWINDING, PairTradeState.CLOSING}),
    # Real world possibility: a fill is reported after the cancel was confirmed and the trade was over.
    PairTradeState.CLOSED: frozenset({PairTradeState.ORPHANED}),
    PairTradeState.UNWOUND: frozenset({PairTradeState.ORPHANED}),
    PairTradeState.ABANDONED: frozenset({PairTradeState.ORPHANED}),
}

FINISHED_TRADES = frozenset({PairTradeState.CLOSED, PairTradeState.UNWOUND, PairTradeState.ABANDONED})
"""Nothing is held and nothing more will happen, late fills apart."""

S = TypeVar("S", bound=StrEnum)


def check_transition(table: Mapping[S, frozenset[S]], before: S, after: S, what: str) -> None:
    """Let a transition pass that the table holds.

    Raises:
        InvalidTransition: the table does not hold it.
    """
    if after not in table[before]:
        raise InvalidTransition(f"{what} cannot go from {before} to {after}")


def leg_symbols(symbol_1: str, symbol_2: str | None) -> tuple[str, ...]:
    """Return the symbols of the legs that there are: both of a pair's, or the only one."""
    return (symbol_1,) if symbol_2 is None else (symbol_1, symbol_2)


@dataclass(frozen=True)
class PairTrade:
    """One trade: of a pair, with two legs, or of an instance in one symbol, with leg 1 alone.

    Quantities are signed shares: shorts are negative. In one symbol `pair_id` is the name `instance:SYMBOL`, there is
    no second symbol, its target is zero and so is `beta`; long spread means long. `reopened` says that a fill came
    after its end: it is being sold again, perhaps beside a newer trade of the pair.
    """

    id: UUID
    pair_id: str
    symbol_1: str
    symbol_2: str | None
    beta: float
    direction: Direction
    state: PairTradeState
    slot: datetime
    target_1: Decimal
    target_2: Decimal
    version: int
    closed_slot: datetime | None = None
    close_reason: str | None = None
    realized_pnl: Decimal | None = None
    reopened: bool = False
    instance_id: str | None = None

    @property
    def legs(self) -> tuple[int, ...]:
        """Number the legs: both of a pair, or the only one."""
        return tuple(range(1, len(self.symbols) + 1))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the legs."""
        return leg_symbols(self.symbol_1, self.symbol_2)

    def symbol(self, leg: int) -> str:
        """Return the symbol of one of the legs."""
        return self.symbols[leg - 1]

    def target(self, leg: int) -> Decimal:
        """Return the signed target of leg 1 or 2."""
        return self.target_1 if leg == 1 else self.target_2
