"""Our books against the broker's word: a pure function from both to what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from src.shared.domain.orders import OrderReport, PositionReport


@dataclass(frozen=True)
class Drift:
    """One difference that stops entries until it is explained. `subject` is a symbol or an order id."""

    kind: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Reconciliation:
    """The result of one comparison. `external` are signed shares held in symbols we never traded."""

    drifts: frozenset[Drift]
    external: Mapping[str, Decimal]
    external_orders: frozenset[str]

    @property
    def clean(self) -> bool:
        """Say whether nothing differs."""
        return not self.drifts


def compare(
    held: Mapping[str, Decimal],
    known_orders: frozenset[str],
    positions: Iterable[PositionReport],
    open_orders: Iterable[OrderReport],
    our_prefix: str,
) -> Reconciliation:
    """Compare what we hold and sent with what the broker says.

    Args:
        held: signed shares by symbol, from our books.
        known_orders: client order ids we have intents for.
        positions: the broker's positions, of the whole account.
        open_orders: the broker's open orders, of the whole account.
        our_prefix: how our client order ids begin.
    """
    theirs = {p.symbol: p.quantity for p in positions}
    orders = list(open_orders)
    drifts = set(_position_drifts(held, theirs)) | set(_order_drifts(known_orders, orders, our_prefix))
    external = {symbol: quantity for symbol, quantity in theirs.items() if symbol not in held}
    others = frozenset(o.symbol for o in orders if not o.client_order_id.startswith(our_prefix))
    return Reconciliation(frozenset(drifts), external, others)


def _position_drifts(held: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> Iterable[Drift]:
    for symbol, quantity in held.items():
        told = theirs.get(symbol, Decimal(0))
        if told != quantity:
            yield Drift(
                "position", symbol, f"books say {quantity.normalize():f}, the broker says {told.normalize():f}"
            )


def _order_drifts(known: frozenset[str], orders: Iterable[OrderReport], prefix: str) -> Iterable[Drift]:
    for order in orders:
        if order.client_order_id.startswith(prefix) and order.client_order_id not in known:
            yield Drift("order", order.client_order_id, "the broker has an order of ours that no intent knows")
