"""What companies do to their shares, and what a broker does to an account without a trade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any


class CorporateActionKind(StrEnum):
    """What the books know how to do with an action. Anything else is `other`: it freezes and a person looks."""

    SPLIT = "split"
    CASH_DIVIDEND = "cash_dividend"
    SYMBOL_CHANGE = "symbol_change"
    CASH_MERGER = "cash_merger"
    REMOVAL = "removal"
    OTHER = "other"

    @property
    def keeps_the_basis(self) -> bool:
        """Say whether prices before and after it can be compared, so that a fit stays good."""
        return self is CorporateActionKind.CASH_DIVIDEND


@dataclass(frozen=True)
class CorporateAction:
    """An announced action: `old_rate` shares become `new_rate`, each old share gets `cash_per_share` dollars.

    It takes effect before the open of `ex_date` (New York). `raw` is the vendor's row, `vendor_type` its word for it.
    """

    id: str
    kind: CorporateActionKind
    vendor_type: str
    symbol: str
    ex_date: date
    old_rate: Decimal
    new_rate: Decimal
    cash_per_share: Decimal
    new_symbol: str | None
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class AccountActivity:
    """What happened to the account without a trade: signed dollars and, where it is about a symbol, signed shares.

    `kind` is the vendor's word: CSD and CSW are cash in and out, DIV a dividend, CIL cash in lieu of a fraction.
    """

    id: str
    kind: str
    day: date
    net_amount: Decimal
    symbol: str | None
    quantity: Decimal | None
    per_share: Decimal | None
    description: str
    status: str
