"""What the strategy engine says."""

from __future__ import annotations

from typing import ClassVar

from src.shared.messages.base import Event


class SignalRaised(Event):
    """A pair, or `instance:SYMBOL`, was decided on in a slot, whatever the decision; the latter has no z."""

    speaker: ClassVar[str] = "signals"
    aggregate: ClassVar[str] = "signal"

    pair_id: str
    action: str
    reason: str
    z: float | None


class PairRefitted(Event):
    """A pair that keeps its mode got another fit, or its row changed otherwise."""

    speaker: ClassVar[str] = "signals"
    aggregate: ClassVar[str] = "pair"

    pair_id: str
    mode: str
    who: str
    why: str


class PairModeChanged(Event):
    """A pair went from one mode to another."""

    speaker: ClassVar[str] = "signals"
    aggregate: ClassVar[str] = "pair"

    pair_id: str
    before: str | None
    after: str
    who: str
    why: str
