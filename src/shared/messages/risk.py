"""What risk management says. `Denied` is ours; `Rejected` would be the broker's."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from src.shared.messages.base import Event


class TradeApproved(Event):
    """A signal may be acted on. Quantities are signed shares; an exit carries zeros, it closes what is held."""

    speaker: ClassVar[str] = "risk"
    aggregate: ClassVar[str] = "risk_decision"

    pair_id: str
    action: str
    quantity_1: Decimal
    quantity_2: Decimal


class TradeDenied(Event):
    """A signal may not be acted on; `code` names the rule."""

    speaker: ClassVar[str] = "risk"
    aggregate: ClassVar[str] = "risk_decision"

    pair_id: str
    action: str
    code: str
    reason: str


class RiskStateChanged(Event):
    """The whole account went from one risk state to another."""

    speaker: ClassVar[str] = "risk"
    aggregate: ClassVar[str] = "risk_state"

    before: str
    after: str
    who: str
    why: str


class RiskLimitChanged(Event):
    """A person gave a limit another value; it counts from the next review on. The version is the limit's own."""

    speaker: ClassVar[str] = "risk"
    aggregate: ClassVar[str] = "risk_limit"

    value_before: Decimal
    value_after: Decimal
    who: str
    why: str
