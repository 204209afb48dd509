"""Double-entry books: what one execution posts.

Each execution of q signed shares at price p moves shares and dollars against the exchange:

    holdings/SYMBOL  +q        cash/USD      -q·p
    exchange/SYMBOL  -q        exchange/USD  +q·p

so every entry sums to zero per asset, the sum of `holdings` is the position, and the sum of `cash` over a finished
pair trade is its realised profit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from src.shared.domain.orders import FillReport

CASH, HOLDINGS, EXCHANGE = "cash", "holdings", "exchange"
DOLLARS = "USD"


@dataclass(frozen=True)
class Posting:
    """One line: an account, what it holds (a symbol or USD), and the signed amount."""

    account: str
    asset: str
    amount: Decimal


def postings(fill: FillReport) -> tuple[Posting, ...]:
    """Return the four lines of one execution."""
    dollars = fill.quantity * fill.price
    return (
        Posting(HOLDINGS, fill.symbol, fill.quantity),
        Posting(EXCHANGE, fill.symbol, -fill.quantity),
        Posting(CASH, DOLLARS, -dollars),
        Posting(EXCHANGE, DOLLARS, dollars),
    )
