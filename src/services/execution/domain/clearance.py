"""What surrounds an exit at the broker: the account's shares in its symbol, and the orders that work there.

The venue refuses an order against one that works on the other side, and one for more shares than are there and free.
An exit that would be refused is not sent: it would only use up its attempts.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from src.shared.domain.orders import OrderReport


@dataclass(frozen=True)
class Around:
    """One symbol: signed shares of all our trades by our books, of the whole account, and the working orders."""

    ours: Decimal
    theirs: Decimal
    own_orders: tuple[OrderReport, ...] = ()
    others_orders: tuple[OrderReport, ...] = ()

    def __str__(self) -> str:
        return f"the books hold {self.ours.normalize():f}, the broker {self.theirs.normalize():f}"

    def own_against(self, quantity: Decimal) -> tuple[OrderReport, ...]:
        """Pick our working orders on the other side of an order for `quantity` signed shares."""
        return _on_other_side(self.own_orders, quantity)

    def others_against(self, quantity: Decimal) -> tuple[OrderReport, ...]:
        """Pick somebody else's working orders on the other side."""
        return _on_other_side(self.others_orders, quantity)

    def missing(self, quantity: Decimal) -> Decimal:
        """Return how many shares that an order for `quantity` would give back are in our books, but not there."""
        return max(Decimal(0), (self.ours - self.theirs) * _sign(-quantity))

    def sendable(self, quantity: Decimal) -> Decimal:
        """Return how much of `quantity` may be sent at once: it never turns the account's position round.

        With nothing there and nothing missing, another trade of ours holds the other side, and the account gets it
        back through this order.
        """
        there = max(Decimal(0), self.theirs * _sign(-quantity))
        if there == 0 and self.missing(quantity) == 0:
            return quantity
        working = (*self.own_orders, *self.others_orders)
        reserved = sum(
            (abs(o.quantity - o.filled_quantity) for o in working if o.quantity * quantity > 0), Decimal(0)
        )
        return _sign(quantity) * min(abs(quantity), max(Decimal(0), there - reserved))


def _on_other_side(orders: tuple[OrderReport, ...], quantity: Decimal) -> tuple[OrderReport, ...]:
    return tuple(order for order in orders if order.quantity * quantity < 0)


def _sign(quantity: Decimal) -> int:
    return 1 if quantity > 0 else -1
