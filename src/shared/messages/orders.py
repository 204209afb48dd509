"""What execution says: one event for every change of an order intent or of a pair trade."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from src.shared.domain.orders import OrderState
from src.shared.domain.pairs import PairTradeState
from src.shared.messages.base import Event


class OrderEvent(Event):
    """A change of one order intent. Quantities are signed shares."""

    speaker: ClassVar[str] = "orders"
    aggregate: ClassVar[str] = "order_intent"

    client_order_id: str
    pair_trade_id: str
    symbol: str
    quantity: Decimal
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    reason: str | None


class OrderPlanned(OrderEvent):
    """The intent is committed; nothing was sent."""


class OrderSent(OrderEvent):
    """The intent is about to be sent; from here its outcome may be unknown."""


class OrderAcked(OrderEvent):
    """The broker has it."""


class OrderRejected(OrderEvent):
    """The broker refused it; `reason` is the broker's word."""


class OrderOutcomeUnknown(OrderEvent):
    """Nobody can say yet whether the broker has it."""


class OrderWorking(OrderEvent):
    """The broker is working it."""


class OrderPartiallyFilled(OrderEvent):
    """A part was filled; quantities are cumulative."""


class OrderFilled(OrderEvent):
    """All of it was filled."""


class OrderCanceled(OrderEvent):
    """It was cancelled, perhaps after a partial fill, or given up before it was sent."""


class OrderExpired(OrderEvent):
    """The day ended before it was filled."""


class PairTradeEvent(Event):
    """A change of one trade: of a pair or, with one leg, of `instance:SYMBOL`."""

    speaker: ClassVar[str] = "orders"
    aggregate: ClassVar[str] = "pair_trade"

    pair_id: str
    direction: str
    reason: str | None
    realized_pnl: Decimal | None


class PairOpening(PairTradeEvent):
    """A trade was approved and its legs are being sent."""


class PairOpened(PairTradeEvent):
    """All legs are filled as they should be."""


class PairClosing(PairTradeEvent):
    """The trade is being closed."""


class PairClosed(PairTradeEvent):
    """Nothing is held any more and the result is booked."""


class LegImbalanceFound(PairTradeEvent):
    """The legs do not hedge each other, or a person gave the entry up; what was filled is being unwound."""


class PairUnwound(PairTradeEvent):
    """What was filled of a failed entry is gone again and the result is booked."""


class PairAbandoned(PairTradeEvent):
    """The entry ended before anything was filled."""


class PairOrphaned(PairTradeEvent):
    """A leg can't be closed: a person has to look. Entries are blocked."""


ORDER_EVENTS: dict[OrderState, type[OrderEvent]] = {
    OrderState.PLANNED: OrderPlanned,
    OrderState.SENDING: OrderSent,
    OrderState.ACKED: OrderAcked,
    OrderState.REJECTED: OrderRejected,
    OrderState.UNKNOWN: OrderOutcomeUnknown,
    OrderState.WORKING: OrderWorking,
    OrderState.PARTIALLY_FILLED: OrderPartiallyFilled,
    OrderState.FILLED: OrderFilled,
    OrderState.CANCELED: OrderCanceled,
    OrderState.EXPIRED: OrderExpired,
}

PAIR_TRADE_EVENTS: dict[PairTradeState, type[PairTradeEvent]] = {
    PairTradeState.OPENING: PairOpening,
    PairTradeState.OPEN: PairOpened,
    PairTradeState.CLOSING: PairClosing,
    PairTradeState.CLOSED: PairClosed,
    PairTradeState.UNWINDING: LegImbalanceFound,
    PairTradeState.UNWOUND: PairUnwound,
    PairTradeState.ABANDONED: PairAbandoned,
    PairTradeState.ORPHANED: PairOrphaned,
}
