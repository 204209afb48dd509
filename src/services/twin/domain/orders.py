"""Orders and fills as the venue keeps them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum


class Status(StrEnum):
    """States of an order, in Alpaca's words."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"


OPEN = frozenset({Status.PENDING_NEW, Status.ACCEPTED, Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL})
WORKING = frozenset({Status.NEW, Status.PARTIALLY_FILLED})  # visible to the market; ACCEPTED waits for the open

# What may follow what. Terminal states have no row, but that a fill may come late, after the cancel.
NEXT: dict[Status, frozenset[Status]] = {
    Status.PENDING_NEW: frozenset({Status.ACCEPTED, Status.NEW, Status.REJECTED}),
    Status.ACCEPTED: frozenset({Status.NEW, Status.PENDING_CANCEL, Status.CANCELED, Status.EXPIRED, Status.REJECTED}),
    Status.NEW: frozenset(
        {
            Status.PARTIALLY_FILLED,
            Status.FILLED,
            Status.PENDING_CANCEL,
            Status.CANCELED,
            Status.EXPIRED,
            Status.REPLACED,
            Status.REJECTED,
        }
    ),
    Status.PARTIALLY_FILLED: frozenset(
        {
            Status.PARTIALLY_FILLED,
            Status.FILLED,
            Status.PENDING_CANCEL,
            Status.CANCELED,
            Status.EXPIRED,
            Status.REPLACED,
        }
    ),
    Status.PENDING_CANCEL: frozenset({Status.PENDING_CANCEL, Status.FILLED, Status.CANCELED, Status.EXPIRED}),
    Status.CANCELED: frozenset({Status.CANCELED, Status.FILLED}),
}


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A readable request for an order; the rules have not looked at it yet."""

    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal
    client_order_id: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    extended_hours: bool = False
    position_intent: str | None = None


@dataclass(slots=True)
class Order:
    """An order; times are microseconds. Only `Venue` changes one."""

    id: str
    seq: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    extended_hours: bool
    position_intent: str
    opens_position: bool
    reserve_price: Decimal
    status: Status
    created_at: int
    updated_at: int
    submitted_at: int
    expires_at: int
    filled_qty: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)
    filled_at: int | None = None
    expired_at: int | None = None
    canceled_at: int | None = None
    failed_at: int | None = None
    replaced_at: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    last_fill_slot: int = -1
    cancel_requested_at: int | None = None

    @property
    def leaves(self) -> Decimal:
        """Quantity that is still to be filled."""
        return self.qty - self.filled_qty

    @property
    def is_open(self) -> bool:
        """Whether the order can still be filled."""
        return self.status in OPEN

    @property
    def status_after_fill(self) -> Status:
        """State that the execution just counted leads to: a part of it does not undo a cancel."""
        if not self.leaves:
            return Status.FILLED
        ending = self.status in (Status.PENDING_CANCEL, Status.CANCELED)
        return self.status if ending else Status.PARTIALLY_FILLED

    @property
    def filled_avg_price(self) -> Decimal | None:
        """Average price of what is filled, to six decimals."""
        if not self.filled_qty:
            return None
        return (self.filled_value / self.filled_qty).quantize(Decimal("0.000001")).normalize()

    def move(self, status: Status, at: int) -> None:
        """Go to the next state.

        Raises:
            ValueError: the table of states does not allow it.
        """
        if status not in NEXT.get(self.status, frozenset()):
            raise ValueError(f"order {self.id} can't go from {self.status} to {status}")
        self.status = status
        self.updated_at = at

    def copy(self) -> Order:
        """Return the order as it is now, unmoved by what happens next."""
        return replace(self)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `side` is sell_short where a short position was opened or grew."""

    seq: int
    id: str
    execution_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    at: int
    cum_qty: Decimal
    leaves_qty: Decimal
    position_qty: Decimal

    @property
    def signed_qty(self) -> Decimal:
        """Quantity with the sign of its effect on the position."""
        return self.qty if self.side == "buy" else -self.qty

    @property
    def kind(self) -> str:
        """`fill` when it completes its order, else `partial_fill`."""
        return "partial_fill" if self.leaves_qty else "fill"
