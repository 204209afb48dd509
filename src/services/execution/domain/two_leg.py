"""The two-leg machine: one pure function from what is known to the one next step.

All memory is in the database, so the same function carries a trade on after a crash, in another process, or in the
next cycle. Opening goes one leg after the other, the short one first because it is the one that may not be had; the
second leg is sized from what the first one really filled. Closing sends both legs at once.

state      | when                                           | step
-----------+------------------------------------------------+---------------------------------------------
any        | an order's outcome is unknown                   | Resolve
any        | an order is planned and still to be sent        | Send
any        | … its hour is over, or the market closed        | GiveUp
any        | an order is past its deadline at the broker     | Cancel, once; then Wait
any        | fills are reported but not booked               | Book
OPENING    | no first leg yet                                | Place the short leg, if entries are allowed now
OPENING    | … its hour is over, or the market closed        | Move ABANDONED
OPENING    | first leg working                               | Wait
OPENING    | first leg done, nothing filled                  | Move ABANDONED
OPENING    | first leg filled, no second leg yet             | Place the other leg, target × filled share
OPENING    | … its hour is over, or the market closed        | Move UNWINDING
OPENING    | second leg done, nothing filled                 | Move UNWINDING
OPENING    | legs filled in different shares                 | Place an unwind of the excess, once
OPENING    | legs hedge each other                           | Move OPEN
OPENING    | they do not and the excess could not be unwound | Move UNWINDING
OPEN       | a late fill broke the hedge                     | Move CLOSING
CLOSING,   | a leg is held and has no order                  | Place the opposite of what is held
UNWINDING  | … after too many attempts in this slot          | Move ORPHANED
           | … and the market is closed                      | Rest
           | orders working                                  | Wait
           | nothing held                                    | Move CLOSED / UNWOUND
ORPHANED   | attempts left in this slot, market open         | Move UNWINDING (or CLOSING, if it was ever open)
finished   | a late fill left something held                 | Move ORPHANED
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from src.shared.domain.orders import AT_BROKER, UNSETTLED, OrderAction, OrderIntent, OrderState
from src.shared.domain.pairs import PairTrade, PairTradeState

LEGS = (1, 2)
WHOLE = Decimal(1)


@dataclass(frozen=True)
class Rules:
    """`leg_tolerance` is a fraction of the target; `attempts_per_slot` counts orders per leg and action."""

    leg_deadline: timedelta
    leg_tolerance: Decimal
    attempts_per_slot: int


@dataclass(frozen=True)
class Resolve:
    """Find out whether the broker has the order."""

    intent: OrderIntent


@dataclass(frozen=True)
class Send:
    """Send a planned order."""

    intent: OrderIntent


@dataclass(frozen=True)
class GiveUp:
    """Never send a planned order: the reason for it has passed."""

    intent: OrderIntent


@dataclass(frozen=True)
class Place:
    """Plan a new order of `quantity` signed shares."""

    leg: int
    action: OrderAction
    quantity: Decimal
    attempt: int


@dataclass(frozen=True)
class Cancel:
    """Ask the broker to cancel an order that took too long."""

    intent: OrderIntent


@dataclass(frozen=True)
class Wait:
    """Look at these orders again."""

    intents: tuple[OrderIntent, ...]


@dataclass(frozen=True)
class Book:
    """Fetch the executions of these orders and book them."""

    intents: tuple[OrderIntent, ...]


@dataclass(frozen=True)
class Move:
    """Bring the trade into another state."""

    state: PairTradeState
    reason: str


@dataclass(frozen=True)
class Rest:
    """There is nothing to do in this cycle."""


Step = Resolve | Send | GiveUp | Place | Cancel | Wait | Book | Move | Rest


@dataclass(frozen=True)
class Situation:
    """What is known about one trade.

    `booked` holds signed shares booked per intent id; `slot` and `now` are market time; `may_enter` says whether a
    first leg may be sent in this pass.
    """

    trade: PairTrade
    intents: tuple[OrderIntent, ...]
    booked: dict[str, Decimal]
    cancelling: frozenset[str]
    slot: datetime
    now: datetime
    market_open: bool = True
    may_enter: bool = True

    @property
    def entry_is_over(self) -> bool:
        """Say whether the moment that the entry was approved for has passed."""
        return self.trade.slot != self.slot or not self.market_open

    def held(self, leg: int) -> Decimal:
        """Signed shares held in a leg by the broker's reports."""
        return sum((i.filled_quantity for i in self.intents if i.leg == leg), Decimal(0))

    def of(self, leg: int, action: OrderAction) -> tuple[OrderIntent, ...]:
        """The leg's orders of one kind, oldest first."""
        return tuple(i for i in self.intents if i.leg == leg and i.action is action)


def next_step(situation: Situation, rules: Rules) -> Step:
    """Return the one next step for a trade."""
    return _settle_orders(situation, rules) or _BY_STATE[situation.trade.state](situation, rules)


def first_leg(trade: PairTrade) -> int:
    """The short leg goes first: it is the one that may not be had."""
    return 1 if trade.target_1 < 0 else 2


def second_quantity(trade: PairTrade, first_filled: Decimal) -> Decimal:
    """Size the second leg from the fill of the first, in signed whole shares."""
    first = first_leg(trade)
    share = first_filled / trade.target(first)
    return (trade.target(3 - first) * share).quantize(WHOLE, ROUND_HALF_EVEN)


def worth_sending(intent: OrderIntent, s: Situation) -> bool:
    """Say whether an order that is not at the broker is still to be sent: an entry only within its own slot."""
    return s.market_open and (intent.action is not OrderAction.OPEN or intent.slot == s.slot)


def ends_exposure(intent: OrderIntent, trade: PairTrade) -> bool:
    """Say whether an order takes risk away: all of them but the first leg of an entry, which is what begins it."""
    return intent.action is not OrderAction.OPEN or intent.leg != first_leg(trade)


def is_booked(intent: OrderIntent, booked: Mapping[str, Decimal]) -> bool:
    """Say whether the booked executions explain the fills reported; a working order may be booked further."""
    shares = booked.get(str(intent.id), Decimal(0))
    return shares == intent.filled_quantity if intent.is_done else abs(shares) >= abs(intent.filled_quantity)


def _settle_orders(s: Situation, rules: Rules) -> Step | None:
    """Handle what is the same in every state: orders that are not settled come before anything else."""
    for intent in s.intents:
        if intent.state in UNSETTLED:
            return Resolve(intent)
    for intent in s.intents:
        if intent.state is OrderState.PLANNED:
            return Send(intent) if worth_sending(intent, s) else GiveUp(intent)
    for intent in s.intents:
        if intent.state in AT_BROKER and _is_late(intent, s, rules) and intent.client_order_id not in s.cancelling:
            return Cancel(intent)
    unbooked = tuple(i for i in s.intents if not is_booked(i, s.booked))
    return Book(unbooked) if unbooked else None


def _is_late(intent: OrderIntent, s: Situation, rules: Rules) -> bool:
    return intent.sent_at is not None and s.now - intent.sent_at > rules.leg_deadline


def _working(s: Situation) -> tuple[OrderIntent, ...]:
    return tuple(i for i in s.intents if i.state in AT_BROKER)


def _opening(s: Situation, rules: Rules) -> Step:
    first = first_leg(s.trade)
    if working := _working(s):
        return Wait(working)
    if not s.of(first, OrderAction.OPEN):
        return _first_leg(s, first)
    if s.held(first) == 0 and s.held(3 - first) == 0:
        return _nothing_held(s, first)
    if not s.of(3 - first, OrderAction.OPEN):
        return _second_leg(s, first)
    if s.held(3 - first) == 0:
        return Move(PairTradeState.UNWINDING, _why(s.of(3 - first, OrderAction.OPEN)[-1]))
    return _balance(s, rules)


def _first_leg(s: Situation, first: int) -> Step:
    if s.entry_is_over:
        return Move(PairTradeState.ABANDONED, "its moment passed before an order was sent")
    return Place(first, OrderAction.OPEN, s.trade.target(first), 1) if s.may_enter else Rest()


def _nothing_held(s: Situation, first: int) -> Step:
    if any(i.filled_quantity != 0 for i in s.intents):
        return Move(PairTradeState.UNWINDING, "the entry was bought and sold again")
    return Move(PairTradeState.ABANDONED, _why(s.of(first, OrderAction.OPEN)[-1]))


def _second_leg(s: Situation, first: int) -> Step:
    if s.entry_is_over:
        return Move(PairTradeState.UNWINDING, "its moment passed before the second leg was sent")
    quantity = second_quantity(s.trade, s.held(first))
    if quantity == 0:
        return Move(PairTradeState.UNWINDING, "the first leg filled too little to hedge with whole shares")
    return Place(3 - first, OrderAction.OPEN, quantity, 1)


def _balance(s: Situation, rules: Rules) -> Step:
    """Compare the legs' filled shares of their targets; the leg that has more gives the excess back, once."""
    more, excess = _excess(s)
    if _is_within(excess, s.trade.target(more), rules):
        return Move(PairTradeState.OPEN, "both legs filled")
    if s.market_open and not s.of(more, OrderAction.UNWIND) and excess != s.held(more):
        return Place(more, OrderAction.UNWIND, -excess, 1)
    return Move(PairTradeState.UNWINDING, "the legs do not hedge each other")


def _excess(s: Situation) -> tuple[int, Decimal]:
    shares = {leg: s.held(leg) / s.trade.target(leg) for leg in LEGS}
    more = max(LEGS, key=lambda leg: shares[leg])
    wanted = (s.trade.target(more) * shares[3 - more]).quantize(WHOLE, ROUND_DOWN)
    return more, s.held(more) - wanted


def _is_within(excess: Decimal, target: Decimal, rules: Rules) -> bool:
    return abs(excess) < 1 or abs(excess / target) <= rules.leg_tolerance


def _open(s: Situation, rules: Rules) -> Step:
    """Rest while both legs are there; only a fill that came after its order's end can change that."""
    more, excess = _excess(s)
    if _is_within(excess, s.trade.target(more), rules) and s.held(3 - more) != 0:
        return Rest()
    return Move(PairTradeState.CLOSING, "a late fill broke the hedge")


def _flattening(s: Situation, rules: Rules) -> Step:
    closing = s.trade.state is PairTradeState.CLOSING
    action = OrderAction.CLOSE if closing else OrderAction.UNWIND
    for leg in LEGS:
        if s.market_open and s.held(leg) != 0 and not any(i.leg == leg for i in _working(s)):
            return _flatten_leg(s, rules, leg, action)
    if working := _working(s):
        return Wait(working)
    if any(s.held(leg) != 0 for leg in LEGS):
        return Rest()
    return Move(PairTradeState.CLOSED if closing else PairTradeState.UNWOUND, s.trade.close_reason or "flat")


def _flatten_leg(s: Situation, rules: Rules, leg: int, action: OrderAction) -> Step:
    before = s.of(leg, action)
    if _is_exhausted(s, rules, leg, action):
        return Move(PairTradeState.ORPHANED, f"leg {leg} can't be closed: {_why(before[-1])}")
    return Place(leg, action, -s.held(leg), len(before) + 1)


def _is_exhausted(s: Situation, rules: Rules, leg: int, action: OrderAction) -> bool:
    return sum(1 for i in s.of(leg, action) if i.slot == s.slot) >= rules.attempts_per_slot


def _orphaned(s: Situation, rules: Rules) -> Step:
    was_open = any(i.action is OrderAction.CLOSE for i in s.intents)
    action = OrderAction.CLOSE if was_open else OrderAction.UNWIND
    if not s.market_open or any(s.held(leg) != 0 and _is_exhausted(s, rules, leg, action) for leg in LEGS):
        return Rest()
    return Move(PairTradeState.CLOSING if was_open else PairTradeState.UNWINDING, "another attempt to get flat")


def _finished(s: Situation, rules: Rules) -> Step:  # noqa: ARG001
    left = [f"{s.held(leg).normalize():f} {s.trade.symbol(leg)}" for leg in LEGS if s.held(leg) != 0]
    return Move(PairTradeState.ORPHANED, f"filled after the end: {', '.join(left)}") if left else Rest()


_BY_STATE = {
    PairTradeState.OPENING: _opening,
    PairTradeState.OPEN: _open,
    PairTradeState.CLOSING: _flattening,
    PairTradeState.UNWINDING: _flattening,
    PairTradeState.ORPHANED: _orphaned,
    PairTradeState.CLOSED: _finished,
    PairTradeState.UNWOUND: _finished,
    PairTradeState.ABANDONED: _finished,
}


def _why(intent: OrderIntent) -> str:
    said = f": {intent.reason}" if intent.reason else ""
    return f"{intent.side} {abs(intent.quantity)} {intent.symbol} {intent.state}{said}"
