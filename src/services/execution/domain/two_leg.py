"""The two-leg machine: one pure function from what is known to the one next step.

All memory is in the database, so the same function carries a trade on after a crash, in another process, or in the
next cycle. Opening goes one leg after the other, the short one first because it is the one that may not be had; the
second leg is sized from what the first one really filled. Closing sends both legs at once.

state      | when                                           | step
-----------+------------------------------------------------+---------------------------------------------
any        | an order's outcome is unknown                   | Resolve
any        | an order is planned                             | Send
any        | an order is past its deadline at the broker     | Cancel, once; then Wait
any        | fills are reported but not booked               | Book
OPENING    | no first leg yet                                | Place the short leg
OPENING    | first leg working                               | Wait
OPENING    | first leg done, nothing filled                  | Move ABANDONED
OPENING    | first leg filled, no second leg yet             | Place the other leg, target × filled share
OPENING    | second leg done, nothing filled                 | Move UNWINDING
OPENING    | legs filled in different shares                 | Place an unwind of the excess, once
OPENING    | legs hedge each other                           | Move OPEN
OPENING    | they do not and the excess could not be unwound | Move UNWINDING
CLOSING,   | a leg is held and has no order                  | Place the opposite of what is held
UNWINDING  | … after too many attempts in this slot          | Move ORPHANED
           | orders working                                  | Wait
           | nothing held                                    | Move CLOSED / UNWOUND
ORPHANED   | attempts left in this slot                      | Move UNWINDING (or CLOSING, if it was ever open)
"""

from __future__ import annotations

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


Step = Resolve | Send | Place | Cancel | Wait | Book | Move | Rest


@dataclass(frozen=True)
class Situation:
    """What is known about one trade. `booked` holds signed shares booked per intent id; `now` is wall time."""

    trade: PairTrade
    intents: tuple[OrderIntent, ...]
    booked: dict[str, Decimal]
    cancelling: frozenset[str]
    slot: datetime
    now: datetime

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


def _settle_orders(s: Situation, rules: Rules) -> Step | None:
    """Handle what is the same in every state: orders that are not settled come before anything else."""
    for intent in s.intents:
        if intent.state in UNSETTLED:
            return Resolve(intent)
    for intent in s.intents:
        if intent.state is OrderState.PLANNED:
            return Send(intent)
    for intent in s.intents:
        if intent.state in AT_BROKER and _is_late(intent, s, rules) and intent.client_order_id not in s.cancelling:
            return Cancel(intent)
    unbooked = tuple(i for i in s.intents if i.is_done and s.booked.get(str(i.id), Decimal(0)) != i.filled_quantity)
    return Book(unbooked) if unbooked else None


def _is_late(intent: OrderIntent, s: Situation, rules: Rules) -> bool:
    return intent.sent_at is not None and s.now - intent.sent_at > rules.leg_deadline


def _working(s: Situation) -> tuple[OrderIntent, ...]:
    return tuple(i for i in s.intents if i.state in AT_BROKER)


def _opening(s: Situation, rules: Rules) -> Step:
    trade, first = s.trade, first_leg(s.trade)
    if working := _working(s):
        return Wait(working)
    if not s.of(first, OrderAction.OPEN):
        return Place(first, OrderAction.OPEN, trade.target(first), 1)
    if s.held(first) == 0 and s.held(3 - first) == 0:
        return _nothing_held(s, first)
    if not s.of(3 - first, OrderAction.OPEN):
        return _second_leg(s, first)
    if s.held(3 - first) == 0:
        return Move(PairTradeState.UNWINDING, _why(s.of(3 - first, OrderAction.OPEN)[-1]))
    return _balance(s, rules)


def _nothing_held(s: Situation, first: int) -> Step:
    if any(i.filled_quantity != 0 for i in s.intents):
        return Move(PairTradeState.UNWINDING, "the entry was bought and sold again")
    return Move(PairTradeState.ABANDONED, _why(s.of(first, OrderAction.OPEN)[-1]))


def _second_leg(s: Situation, first: int) -> Step:
    quantity = second_quantity(s.trade, s.held(first))
    if quantity == 0:
        return Move(PairTradeState.UNWINDING, "the first leg filled too little to hedge with whole shares")
    return Place(3 - first, OrderAction.OPEN, quantity, 1)


def _balance(s: Situation, rules: Rules) -> Step:
    """Compare the legs' filled shares of their targets; the leg that has more gives the excess back, once."""
    shares = {leg: s.held(leg) / s.trade.target(leg) for leg in LEGS}
    more = max(LEGS, key=lambda leg: shares[leg])
    wanted = (s.trade.target(more) * shares[3 - more]).quantize(WHOLE, ROUND_DOWN)
    excess = s.held(more) - wanted
    if abs(excess) < 1 or abs(excess / s.trade.target(more)) <= rules.leg_tolerance:
        return Move(PairTradeState.OPEN, "both legs filled")
    if not s.of(more, OrderAction.UNWIND) and wanted != 0:
        return Place(more, OrderAction.UNWIND, -excess, 1)
    return Move(PairTradeState.UNWINDING, "the legs do not hedge each other")


def _flattening(s: Situation, rules: Rules) -> Step:
    closing = s.trade.state is PairTradeState.CLOSING
    action = OrderAction.CLOSE if closing else OrderAction.UNWIND
    for leg in LEGS:
        if s.held(leg) != 0 and not any(i.leg == leg for i in _working(s)):
            return _flatten_leg(s, rules, leg, action)
    if working := _working(s):
        return Wait(working)
    return Move(PairTradeState.CLOSED if closing else PairTradeState.UNWOUND, s.trade.close_reason or "flat")


def _flatten_leg(s: Situation, rules: Rules, leg: int, action: OrderAction) -> Step:
    before = s.of(leg, action)
    if sum(1 for i in before if i.slot == s.slot) >= rules.attempts_per_slot:
        return Move(PairTradeState.ORPHANED, f"leg {leg} can't be closed: {_why(before[-1])}")
    return Place(leg, action, -s.held(leg), len(before) + 1)


def _orphaned(s: Situation, rules: Rules) -> Step:  # noqa: ARG001
    if any(i.slot == s.slot and i.action is not OrderAction.OPEN for i in s.intents):
        return Rest()
    was_open = s.trade.closed_slot is not None
    return Move(PairTradeState.CLOSING if was_open else PairTradeState.UNWINDING, "another attempt to get flat")


def _rest(s: Situation, rules: Rules) -> Step:  # noqa: ARG001
    return Rest()


_BY_STATE = {
    PairTradeState.OPENING: _opening,
    PairTradeState.OPEN: _rest,
    PairTradeState.CLOSING: _flattening,
    PairTradeState.UNWINDING: _flattening,
    PairTradeState.ORPHANED: _orphaned,
    PairTradeState.CLOSED: _rest,
    PairTradeState.UNWOUND: _rest,
    PairTradeState.ABANDONED: _rest,
}


def _why(intent: OrderIntent) -> str:
    said = f": {intent.reason}" if intent.reason else ""
    return f"{intent.side} {abs(intent.quantity)} {intent.symbol} {intent.state}{said}"
