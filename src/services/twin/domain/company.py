"""What companies do to their shares, what the account is paid or charged for it, and money in and out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from enum import StrEnum

from src.services.twin.domain.book import Position

CENT = Decimal("0.01")
WHOLE = Decimal(1)
SMALLEST = Decimal("1e-9")


class ActionType(StrEnum):
    """Kinds of corporate actions, in Alpaca's words."""

    FORWARD_SPLIT = "forward_split"
    REVERSE_SPLIT = "reverse_split"
    CASH_DIVIDEND = "cash_dividend"
    NAME_CHANGE = "name_change"
    CASH_MERGER = "cash_merger"
    WORTHLESS_REMOVAL = "worthless_removal"

    @property
    def is_split(self) -> bool:
        """Whether shares are exchanged for another number of shares."""
        return self in (ActionType.FORWARD_SPLIT, ActionType.REVERSE_SPLIT)


@dataclass(frozen=True, slots=True)
class ActionTerms:
    """What is decided: `rate` is dollars a share, `old_rate` shares become `new_rate` shares.

    It takes effect at the open of `ex_date`, or of the first session after it.
    """

    type: ActionType
    symbol: str
    ex_date: date
    old_rate: Decimal = WHOLE
    new_rate: Decimal = WHOLE
    rate: Decimal = Decimal(0)
    new_symbol: str | None = None


@dataclass(slots=True)
class CorporateAction:
    """A scripted action. Clients hear of it from `announced_at` on; `applied_at` is set once it has happened."""

    seq: int
    id: str
    terms: ActionTerms
    announced_at: int
    applied_at: int | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened to the account without a trade: signed changes of shares, of their cost and of cash."""

    seq: int
    id: str
    type: str
    at: int
    net_amount: Decimal
    description: str
    symbol: str | None = None
    qty: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    per_share: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of an action's effect on a position: an activity that has no number and no time yet."""

    type: str
    symbol: str
    description: str
    qty: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    net_amount: Decimal = Decimal(0)
    per_share: Decimal | None = None


def effects(terms: ActionTerms, held: Position, price: Decimal) -> list[Effect]:
    """Say what an action does to a position; `price` is that of a share after it, for cash in lieu of a fraction."""
    if terms.type.is_split:
        return _split(terms, held, price)
    if terms.type is ActionType.CASH_DIVIDEND:
        amount = _cents(held.qty * terms.rate)
        return [Effect("DIV", held.symbol, "cash dividend", net_amount=amount, per_share=terms.rate)]
    if terms.type is ActionType.NAME_CHANGE:
        return _renamed(terms, held)
    amount = _cents(held.qty * terms.rate)
    kind = "MA" if terms.type is ActionType.CASH_MERGER else "REORG"
    text = "acquired for cash" if kind == "MA" else "removed as worthless"
    return [Effect(kind, held.symbol, text, -held.qty, -held.cost_basis, amount, terms.rate)]


def _split(terms: ActionTerms, held: Position, price: Decimal) -> list[Effect]:
    after = (held.qty * terms.new_rate / terms.old_rate).quantize(SMALLEST)
    # Whole shares stay, toward zero; a position that was fractional before is rounded like any other.
    fraction = after - after.quantize(WHOLE, ROUND_DOWN)
    text = f"{terms.new_rate:f} for {terms.old_rate:f} split"
    done = [Effect("SPLIT", held.symbol, text, after - held.qty)]
    if fraction:
        cost = held.cost_basis * fraction / after
        amount = _cents(fraction * price)
        done.append(Effect("CIL", held.symbol, "cash in lieu of a fraction", -fraction, -cost, amount, price))
    return done


def _renamed(terms: ActionTerms, held: Position) -> list[Effect]:
    new = terms.new_symbol or held.symbol
    text = f"{held.symbol} becomes {new}"
    return [
        Effect("NC", held.symbol, text, -held.qty, -held.cost_basis),
        Effect("NC", new, text, held.qty, held.cost_basis),
    ]


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)
