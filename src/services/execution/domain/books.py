"""Double-entry books: what an execution, or a company's action, posts.

Each execution of q signed shares at price p moves shares and dollars against the exchange:

    holdings/SYMBOL  +q        cash/USD      -q·p
    exchange/SYMBOL  -q        exchange/USD  +q·p

so every entry sums to zero per asset, the sum of `holdings` is the position, and the sum of `cash` over a finished
pair trade is its realised profit. What a company does is posted the same way: shares that a split adds come from the
exchange, the fraction of a share that the broker pays out waits in `in_lieu` for its cash, a dividend comes from
`income` (a short pays it), and a symbol change moves the shares from one asset to the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from src.shared.domain.orders import FillReport

CASH, HOLDINGS, EXCHANGE, INCOME, IN_LIEU = "cash", "holdings", "exchange", "income", "in_lieu"
DOLLARS = "USD"
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Posting:
    """One line: an account, what it holds (a symbol or USD), and the signed amount."""

    account: str
    asset: str
    amount: Decimal


Postings = tuple[Posting, ...]


def postings(fill: FillReport) -> Postings:
    """Return the four lines of one execution."""
    dollars = fill.quantity * fill.price
    return (
        Posting(HOLDINGS, fill.symbol, fill.quantity),
        Posting(EXCHANGE, fill.symbol, -fill.quantity),
        Posting(CASH, DOLLARS, -dollars),
        Posting(EXCHANGE, DOLLARS, dollars),
    )


def split_postings(symbol: str, change: Decimal, fraction: Decimal) -> Postings:
    """Post shares that a split added to the position, and the fraction of a share that is to be paid out."""
    return _moved(
        Posting(HOLDINGS, symbol, change), Posting(IN_LIEU, symbol, fraction), against=(EXCHANGE, change + fraction)
    )


def in_lieu_postings(symbol: str, fraction: Decimal, dollars: Decimal) -> Postings:
    """Post the cash that came, or went, for the fraction of a share."""
    shares = _moved(Posting(IN_LIEU, symbol, -fraction), against=(EXCHANGE, -fraction))
    return shares + _moved(Posting(CASH, DOLLARS, dollars), against=(EXCHANGE, dollars))


def dividend_postings(held: Decimal, per_share: Decimal) -> Postings:
    """Post a dividend on signed shares, in whole cents as the broker pays it: a short is charged."""
    dollars = cents(held * per_share)
    return _moved(Posting(CASH, DOLLARS, dollars), against=(INCOME, dollars))


def surrender_postings(symbol: str, held: Decimal, per_share: Decimal) -> Postings:
    """Post shares that went without an order of ours: taken, or traded by somebody else, for cash or for nothing."""
    dollars = cents(held * per_share)
    shares = _moved(Posting(HOLDINGS, symbol, -held), against=(EXCHANGE, -held))
    return shares + _moved(Posting(CASH, DOLLARS, dollars), against=(EXCHANGE, dollars))


def renamed_postings(old: str, new: str, held: Decimal) -> Postings:
    """Post shares that stand under another symbol from now on."""
    gone = _moved(Posting(HOLDINGS, old, -held), against=(EXCHANGE, -held))
    return gone + _moved(Posting(HOLDINGS, new, held), against=(EXCHANGE, held))


def shares_moved(lines: Iterable[Posting]) -> dict[str, Decimal]:
    """Add up by symbol what an entry changes in the position."""
    moved: dict[str, Decimal] = {}
    for line in lines:
        if line.account == HOLDINGS:
            moved[line.asset] = moved.get(line.asset, Decimal(0)) + line.amount
    return moved


def cents(dollars: Decimal) -> Decimal:
    """Round to whole cents, halves away from zero."""
    return dollars.quantize(CENT, ROUND_HALF_UP)


def _moved(*lines: Posting, against: tuple[str, Decimal]) -> Postings:
    """Balance lines of one asset with a counter account; what moves nothing is left out."""
    account, amount = against
    return tuple(line for line in (*lines, Posting(account, lines[0].asset, -amount)) if line.amount)
