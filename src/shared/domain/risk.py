"""What risk management says about a signal, and the risk state of the whole account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from src.shared.domain.ids import derived_id
from src.shared.domain.signals import SignalAction

APPROVED = "APPROVED"

# Where an approved entry's numbers say what others go by.
NEEDED_BUYING_POWER = ("buying_power", "needed")
"""Dollars that the broker will reserve for all legs, as text."""
WAS_RECONCILED = ("reconciled", "reconciled")
"""Whether books and broker agreed."""


class RiskState(StrEnum):
    """How much the account may do."""

    ACTIVE = "active"
    """Entries and exits."""
    REDUCING = "reducing"
    """Exits only."""
    HALTED = "halted"
    """Nothing at all: the kill switch at its level "everything"."""


@dataclass(frozen=True)
class RiskDecision:
    """The one decision about one signal. Quantities are signed whole shares; exits and denials carry zeros.

    `pair_id` is the signal's: a pair, or `instance:SYMBOL`, which has no second quantity.

    `code` is `APPROVED` or the code of the rule that denied; `numbers` is what the decision was computed from, as
    JSON values (money as text).
    """

    pair_id: str
    slot: datetime
    signal_id: UUID
    action: SignalAction
    approved: bool
    code: str
    reason: str
    quantity_1: Decimal
    quantity_2: Decimal
    numbers: Mapping[str, object]

    @property
    def id(self) -> UUID:
        """Name the one decision about this signal."""
        return derived_id("risk-decision", str(self.signal_id))
