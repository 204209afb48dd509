"""What the strategy says about a pair in a slot, with the numbers it was said from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from src.shared.domain.ids import derived_id, slot_key
from src.shared.domain.pairs import Direction


class SignalAction(StrEnum):
    """The decision of one slot."""

    ENTER_LONG = "enter_long"
    ENTER_SHORT = "enter_short"
    STOP = "stop"
    EXPIRE = "expire"
    EXIT = "exit"
    HOLD = "hold"
    STAY_OUT = "stay_out"
    NO_DECISION = "no_decision"

    @property
    def is_entry(self) -> bool:
        """Say whether it opens a trade."""
        return self in (SignalAction.ENTER_LONG, SignalAction.ENTER_SHORT)

    @property
    def is_exit(self) -> bool:
        """Say whether it closes a trade."""
        return self in (SignalAction.STOP, SignalAction.EXPIRE, SignalAction.EXIT)

    @property
    def direction(self) -> Direction:
        """Return the direction an entry opens.

        Raises:
            ValueError: it is no entry.
        """
        if not self.is_entry:
            raise ValueError(f"{self} opens nothing")
        return Direction.LONG_SPREAD if self is SignalAction.ENTER_LONG else Direction.SHORT_SPREAD


@dataclass(frozen=True)
class SpreadReading:
    """The spread of a pair in a slot. `z` = (spread − mean) / sd over the window, sd with ddof = 1."""

    price_1: float
    price_2: float
    spread: float
    mean: float
    sd: float
    z: float
    window_bars: int


@dataclass(frozen=True)
class Signal:
    """One decision about one pair. `reading` is None when there was no basis for a decision."""

    pair_id: str
    slot: datetime
    action: SignalAction
    reason: str
    reading: SpreadReading | None
    held_bars: int | None = None

    @property
    def id(self) -> UUID:
        """Name the one signal of this pair in this slot."""
        return signal_id(self.pair_id, self.slot)


def signal_id(pair: str, slot: datetime) -> UUID:
    """Name the one signal of a pair in a slot."""
    return derived_id("signal", pair, slot_key(slot))
