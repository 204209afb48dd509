"""What a broker's report does to an order intent: forward only, one state change at a time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from src.shared.domain.orders import AT_BROKER, ORDER_TRANSITIONS, UNSETTLED, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import check_transition

# The broker's words. One that is not here leaves the state as it is; the filled quantity still counts.
_STATES = {
    "pending_new": OrderState.ACKED,
    "accepted": OrderState.ACKED,
    "accepted_for_bidding": OrderState.ACKED,
    "pending_review": OrderState.ACKED,
    "new": OrderState.WORKING,
    "held": OrderState.WORKING,
    "stopped": OrderState.WORKING,
    "suspended": OrderState.WORKING,
    "calculated": OrderState.WORKING,
    "pending_cancel": OrderState.WORKING,
    "pending_replace": OrderState.WORKING,
    "partially_filled": OrderState.PARTIALLY_FILLED,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "replaced": OrderState.CANCELED,
    "done_for_day": OrderState.EXPIRED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}

KNOWN_STATUSES = frozenset(_STATES)

_PROGRESS = {
    OrderState.ACKED: 1,
    OrderState.WORKING: 2,
    OrderState.PARTIALLY_FILLED: 3,
    OrderState.REJECTED: 4,
    OrderState.CANCELED: 4,
    OrderState.EXPIRED: 4,
    OrderState.FILLED: 5,
}


def moved(intent: OrderIntent, state: OrderState, **changes: object) -> OrderIntent:
    """Return the intent one version further, in `state`.

    Raises:
        InvalidTransition: the life cycle does not hold the step.
    """
    check_transition(ORDER_TRANSITIONS, intent.state, state, f"order {intent.client_order_id}")
    return replace(intent, state=state, version=intent.version + 1, **changes)  # type: ignore[arg-type]


def apply_report(intent: OrderIntent, report: OrderReport) -> list[OrderIntent]:
    """Return the successive intents that a report leads to; empty when it tells nothing new.

    A report is applied only forward: a smaller filled quantity or an earlier state is old news.
    """
    steps: list[OrderIntent] = []
    current = intent
    if current.state in UNSETTLED:
        current = moved(current, OrderState.ACKED, broker_order_id=report.broker_order_id, reject_code=None)
        steps.append(current)
    filled = max(current.filled_quantity, report.filled_quantity, key=abs)
    state = _state_told(current, report, filled)
    if _is_news(current, state, filled):
        price = report.filled_avg_price if abs(report.filled_quantity) >= abs(filled) else current.filled_avg_price
        # An order that was given up as never placed learns its broker's id here.
        known_as = current.broker_order_id or report.broker_order_id
        steps.append(moved(current, state, filled_quantity=filled, filled_avg_price=price, broker_order_id=known_as))
    return steps


def works(report: OrderReport) -> bool:
    """Say whether the broker may still fill more of it."""
    return _STATES.get(report.status) in AT_BROKER


def is_same_order(intent: OrderIntent, report: OrderReport) -> bool:
    """Say whether the broker's order is the one we meant: same id, symbol and signed quantity."""
    return (
        report.client_order_id == intent.client_order_id
        and report.symbol == intent.symbol
        and report.quantity == intent.quantity
    )


def _state_told(current: OrderIntent, report: OrderReport, filled: Decimal) -> OrderState:
    if filled == current.quantity:
        return OrderState.FILLED
    told = _STATES.get(report.status, current.state)
    if told is OrderState.FILLED:
        # Said before its quantity: nothing is final until all of it is told.
        told = OrderState.WORKING
    if told is OrderState.REJECTED and filled != Decimal(0):
        told = OrderState.CANCELED
    if told in (OrderState.ACKED, OrderState.WORKING) and filled != Decimal(0):
        told = OrderState.PARTIALLY_FILLED
    # A fill that lands after the end does not bring an order back to life.
    return current.state if current.is_done else told


def _is_news(current: OrderIntent, state: OrderState, filled: Decimal) -> bool:
    if abs(filled) > abs(current.filled_quantity):
        return state in ORDER_TRANSITIONS[current.state]
    return _PROGRESS[state] > _PROGRESS[current.state]
