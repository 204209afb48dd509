"""What a company's action does to our pair trades: a pure function from what they held to what is booked.

The broker rounds the account's position to whole shares, not each of our trades. Shares are therefore allotted over
all trades in the symbol: each gets its whole shares, those left over go to the largest fractions, and what a trade
got less (or more) than its due is its share of the cash in lieu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from uuid import UUID

from src.services.execution.domain.books import (
    Postings,
    cents,
    dividend_postings,
    in_lieu_postings,
    renamed_postings,
    split_postings,
    surrender_postings,
)
from src.shared.domain.corporate_actions import AccountActivity, CorporateAction, CorporateActionKind
from src.shared.domain.sessions import TradingCalendar

WHOLE = Decimal(1)
SMALLEST = Decimal("1e-9")
CASH_IN_LIEU = "cash_in_lieu"

# Actions of one morning happen in this order; each a microsecond after the one before, all before the open.
_ORDER = (
    CorporateActionKind.CASH_DIVIDEND,
    CorporateActionKind.SPLIT,
    CorporateActionKind.CASH_MERGER,
    CorporateActionKind.REMOVAL,
    CorporateActionKind.SYMBOL_CHANGE,
    CorporateActionKind.OTHER,
)


@dataclass(frozen=True)
class Times:
    """When an action counts.

    Entries are off from `since`, the open of the session before it; it happens at `effective_at`, just before the
    open of its day; a freeze that needs no person ends at `day_over`, with that session.
    """

    since: datetime
    effective_at: datetime
    day_over: datetime


@dataclass(frozen=True)
class Booking:
    """One ledger entry to be made; the trade's target is multiplied by `scale`, its symbol becomes `new_symbol`."""

    action_id: str
    trade_id: UUID
    symbol: str
    kind: str
    occurred_at: datetime
    lines: Postings
    scale: Decimal = WHOLE
    new_symbol: str | None = None


@dataclass(frozen=True)
class Fraction:
    """A part of a share, signed, that a trade is still to be paid for."""

    action_id: str
    trade_id: UUID
    symbol: str
    ex_date: date
    shares: Decimal


def times_of(action: CorporateAction, calendar: TradingCalendar) -> Times:
    """Place an action in the calendar."""
    around = calendar.sessions(action.ex_date - timedelta(days=14), action.ex_date + timedelta(days=14))
    day = next(session for session in around if session.day >= action.ex_date)
    before = [session for session in around if session.day < action.ex_date][-1]
    early = timedelta(microseconds=len(_ORDER) - _ORDER.index(action.kind))
    return Times(before.open, day.open - early, day.close)


def bookings(action: CorporateAction, held: Mapping[UUID, Decimal], at: datetime) -> list[Booking]:
    """Say what is booked for an action on the signed shares that each trade held in its symbol before it."""
    if action.kind is CorporateActionKind.SPLIT:
        return _split_bookings(action, held, at)
    return [
        Booking(action.id, trade, action.symbol, action.kind.value, at, lines, new_symbol=action.new_symbol)
        for trade, shares in held.items()
        if (lines := _lines(action, shares))
    ]


def _lines(action: CorporateAction, shares: Decimal) -> Postings:
    if action.kind is CorporateActionKind.CASH_DIVIDEND:
        return dividend_postings(shares, action.cash_per_share)
    if action.kind in (CorporateActionKind.CASH_MERGER, CorporateActionKind.REMOVAL):
        return surrender_postings(action.symbol, shares, action.cash_per_share)
    if action.kind is CorporateActionKind.SYMBOL_CHANGE and action.new_symbol is not None:
        return renamed_postings(action.symbol, action.new_symbol, shares)
    return ()


def _split_bookings(action: CorporateAction, held: Mapping[UUID, Decimal], at: datetime) -> list[Booking]:
    allotted = allot(held, action.new_rate / action.old_rate)
    return [
        Booking(
            action.id,
            trade,
            action.symbol,
            action.kind.value,
            at,
            split_postings(action.symbol, shares - held[trade], fraction),
            scale=shares / held[trade] if shares else WHOLE,
        )
        for trade, (shares, fraction) in allotted.items()
        if shares != held[trade] or fraction
    ]


def allot(held: Mapping[UUID, Decimal], ratio: Decimal) -> dict[UUID, tuple[Decimal, Decimal]]:
    """Return, by trade, the whole shares after a split and the fraction still due; the sums are the account's."""
    due = {trade: (shares * ratio).quantize(SMALLEST) for trade, shares in held.items()}
    whole = {trade: shares.quantize(WHOLE, ROUND_DOWN) for trade, shares in due.items()}
    total = sum(due.values(), Decimal(0)).quantize(WHOLE, ROUND_DOWN)
    left = total - sum(whole.values(), Decimal(0))
    step = Decimal(1).copy_sign(left)
    by_fraction = sorted(due, key=lambda trade: (-(due[trade] - whole[trade]) * step, str(trade)))
    for trade in by_fraction[: int(abs(left))]:
        whole[trade] += step
    # Nothing is paid out when the account comes out even: what is left is a matter between our own trades.
    pays = sum(due.values(), Decimal(0)) != total
    return {trade: (whole[trade], due[trade] - whole[trade] if pays else Decimal(0)) for trade in held}


def in_lieu_bookings(
    fractions: Sequence[Fraction], activities: Sequence[AccountActivity], times: Mapping[str, datetime]
) -> list[Booking]:
    """Divide the cash that came in lieu of fractions among the trades that wait for it."""
    found: list[Booking] = []
    for action_id in dict.fromkeys(fraction.action_id for fraction in fractions):
        waiting = [fraction for fraction in fractions if fraction.action_id == action_id]
        paid = next((a for a in activities if a.symbol == waiting[0].symbol and a.day >= waiting[0].ex_date), None)
        if paid is not None:
            found += _divided(waiting, paid, times[action_id])
    return found


def _divided(waiting: Sequence[Fraction], paid: AccountActivity, at: datetime) -> list[Booking]:
    ours = sum((fraction.shares for fraction in waiting), Decimal(0))
    # The account may hold more of the symbol than our trades do; then the cash is not all ours.
    account = abs(paid.quantity) if paid.quantity else abs(ours)
    total = cents(paid.net_amount * abs(ours) / account)
    booked, left, rest = [], total, ours
    for fraction in waiting:
        dollars = cents(left * fraction.shares / rest) if rest else left
        left, rest = left - dollars, rest - fraction.shares
        lines = in_lieu_postings(fraction.symbol, fraction.shares, dollars)
        booked.append(Booking(fraction.action_id, fraction.trade_id, fraction.symbol, CASH_IN_LIEU, at, lines))
    return booked
