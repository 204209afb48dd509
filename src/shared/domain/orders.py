"""Orders: our intents with their life cycle as a table, and the broker's reports about them.

Quantities of intents and fills are signed shares (a sale is negative); prices are dollars. An *intent* is ours and is
committed before anything is sent; a *report* is what the broker says and only ever moves an intent forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class OrderAction(StrEnum):
    """Why an order is sent."""

    OPEN = "open"
    CLOSE = "close"
    UNWIND = "unwind"


class OrderState(StrEnum):
    """Where an order intent stands."""

    PLANNED = "planned"
    SENDING = "sending"
    ACKED = "acked"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"


_LIVE = {
    OrderState.WORKING,
    OrderState.PARTIALLY_FILLED,
    OrderState.FILLED,
    OrderState.CANCELED,
    OrderState.EXPIRED,
    OrderState.REJECTED,  # Real world possibility: the venue refuses after it answered 200
}

ORDER_TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.PLANNED: frozenset({OrderState.SENDING, OrderState.CANCELED}),
    OrderState.SENDING: frozenset({OrderState.ACKED, OrderState.REJECTED, OrderState.UNKNOWN}),
    # SENDING again (with the same id) or CANCELED only after the look-ups proved that nothing was placed.
    OrderState.UNKNOWN: frozenset({OrderState.ACKED, OrderState.REJECTED, OrderState.SENDING, OrderState.CANCELED}),
    OrderState.ACKED: frozenset(_LIVE),
    OrderState.WORKING: frozenset(_LIVE - {OrderState.WORKING}),
    # A further partial fill is a change of its own.
    OrderState.PARTIALLY_FILLED: frozenset(_LIVE - {OrderState.WORKING}),
    OrderState.FILLED: frozenset(),
    # Real world possibility: one request was refused, and another one with the same id was not.
    OrderState.REJECTED: frozenset({OrderState.REJECTED, OrderState.FILLED}),
    # Real world possibility: a fill is reported after the cancel was confirmed.
    OrderState.CANCELED: frozenset({OrderState.CANCELED, OrderState.FILLED}),
    OrderState.EXPIRED: frozenset({OrderState.EXPIRED, OrderState.FILLED}),
}

DONE_ORDERS = frozenset({OrderState.REJECTED, OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED})
"""The broker will not fill any more of it, late fills apart."""

AT_BROKER = frozenset({OrderState.ACKED, OrderState.WORKING, OrderState.PARTIALLY_FILLED})
"""The broker has it and may still fill it."""

UNSETTLED = frozenset({OrderState.SENDING, OrderState.UNKNOWN})
"""We do not know whether the broker has it."""


@dataclass(frozen=True)
class OrderIntent:
    """One order we mean to have at the broker, exactly once. `quantity` is signed shares."""

    id: UUID
    client_order_id: str
    pair_trade_id: UUID
    leg: int
    action: OrderAction
    attempt: int
    symbol: str
    quantity: Decimal
    state: OrderState
    slot: datetime
    epoch: int
    version: int
    created_at: datetime
    sent_at: datetime | None = None
    broker_order_id: str | None = None
    filled_quantity: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    reject_code: str | None = None
    reason: str | None = None

    @property
    def side(self) -> str:
        """Return "buy" or "sell"."""
        return "buy" if self.quantity > 0 else "sell"

    @property
    def is_done(self) -> bool:
        """Say whether nothing more is expected of it."""
        return self.state in DONE_ORDERS

    @property
    def is_taken_unseen(self) -> bool:
        """Say whether the broker has refused its repetition because it has it, and has not shown it since."""
        return self.state is OrderState.UNKNOWN and self.reject_code is not None


@dataclass(frozen=True)
class OrderReport:
    """The broker's word on one order. Quantities are signed shares; `status` is the broker's own word."""

    broker_order_id: str
    client_order_id: str
    symbol: str
    quantity: Decimal
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    status: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class FillReport:
    """One execution as the broker's activities tell it. `quantity` is signed shares."""

    activity_id: str
    broker_order_id: str
    symbol: str
    quantity: Decimal
    price: Decimal
    occurred_at: datetime


@dataclass(frozen=True)
class PositionReport:
    """What the broker says the whole account holds in a symbol. `quantity` is signed shares, `price` its last one."""

    symbol: str
    quantity: Decimal
    price: Decimal | None = None


@dataclass(frozen=True)
class AccountReport:
    """The broker's word on the account, in dollars."""

    account_id: str
    status: str
    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    shorting_enabled: bool
    trading_blocked: bool


@dataclass(frozen=True)
class AssetReport:
    """Whether a symbol may be traded and sold short; what is not active any more is delisted or suspended."""

    symbol: str
    name: str
    exchange: str
    tradable: bool
    shortable: bool
    easy_to_borrow: bool
    active: bool = True


@dataclass(frozen=True)
class MarketClock:
    """The broker's clock, UTC: the only market time there is."""

    now: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime
