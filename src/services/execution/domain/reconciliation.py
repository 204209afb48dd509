"""Our books against the broker's word: a pure function from both to what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from src.shared.domain.orders import OrderIntent, OrderReport, PositionReport


@dataclass(frozen=True)
class Drift:
    """One difference that stops entries until it is explained.

    `subject` is a symbol (kind position), an order id (order), a pair (trade) or the name of a list (unread).
    """

    kind: str
    subject: str
    detail: str


def late_news(ours: Mapping[str, OrderIntent], reports: Iterable[OrderReport]) -> list[OrderReport]:
    """Pick the reports that tell something new of an order which is done here: a fill after its end."""
    done = [r for r in reports if r.client_order_id in ours and ours[r.client_order_id].is_done]
    return [r for r in done if abs(r.filled_quantity) > abs(ours[r.client_order_id].filled_quantity)]


def compare(
    held: Mapping[str, Decimal],
    ours: Mapping[str, OrderIntent],
    positions: Iterable[PositionReport],
    orders: Iterable[OrderReport],
    open_orders: Iterable[OrderReport],
    our_prefix: str,
) -> frozenset[Drift]:
    """Return how what we hold and sent differs from the broker's word; a symbol we do not hold is not ours to judge.

    Args:
        held: signed shares by symbol, from our books.
        ours: our intents by client order id, at least those that `orders` names.
        positions: the broker's positions, of the whole account.
        orders: the broker's open and recent orders, of the whole account.
        open_orders: those the broker still works on.
        our_prefix: how our client order ids begin.
    """
    theirs = {p.symbol: p.quantity for p in positions}
    working = list(open_orders)
    drifts = set(_position_drifts(held, theirs))
    drifts |= {drift for order in [*orders, *working] for drift in _order_drifts(order, ours, our_prefix)}
    drifts |= {drift for order in working for drift in _revenants(order, ours)}
    return frozenset(drifts)


def _position_drifts(held: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> Iterable[Drift]:
    for symbol, quantity in held.items():
        told = theirs.get(symbol, Decimal(0))
        if told != quantity:
            yield Drift(
                "position", symbol, f"books say {quantity.normalize():f}, the broker says {told.normalize():f}"
            )


def _order_drifts(order: OrderReport, ours: Mapping[str, OrderIntent], prefix: str) -> Iterable[Drift]:
    name = order.client_order_id
    if name not in ours and name.startswith(prefix):
        yield Drift("order", name, "the broker has an order of ours that no intent knows")
    elif name in ours and ours[name].is_done and ours[name].filled_quantity != order.filled_quantity:
        yield Drift("order", name, f"filled {ours[name].filled_quantity} here, {order.filled_quantity} at the broker")


def _revenants(order: OrderReport, ours: Mapping[str, OrderIntent]) -> Iterable[Drift]:
    intent = ours.get(order.client_order_id)
    if intent is not None and intent.is_done and intent.broker_order_id is None:
        yield Drift("order", order.client_order_id, "given up here as never placed, but the broker works on it")
