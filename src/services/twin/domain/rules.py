"""The venue's rules about orders: pure checks that raise `VenueRefusal`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from src.services.twin.domain.errors import VenueRefusal, forbidden, invalid_request, unprocessable
from src.services.twin.domain.orders import NewOrder, Order

SHORT_COLLAR = Decimal("1.03")
MARKET_COLLAR = Decimal("1.025")
LEAST_EQUITY_FOR_SHORTS = Decimal(2000)
TYPES = ("market", "limit", "stop")
TIMES_IN_FORCE = ("day", "gtc")


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """What a test may change about one symbol: `no_fill` lets orders rest, `reject_async` refuses after a 200."""

    shortable: bool = True
    easy_to_borrow: bool = True
    tradable: bool = True
    halted: bool = False
    no_fill: bool = False
    reject_side: str | None = None
    reject_code: int = 42210000
    reject_message: str = "order rejected by the venue"
    reject_async: bool = False

    def changed(self, changes: dict[str, Any]) -> SymbolRules:
        """Return the rules with some of them replaced."""
        return replace(self, **changes)

    def rejects(self, side: str) -> bool:
        """Tell whether a test asked to reject this side."""
        return self.reject_side == side


@dataclass(frozen=True, slots=True)
class Standing:
    """What the checks need to know: the symbol's rules and position, open orders, money, and the ask."""

    rules: SymbolRules
    held: Decimal
    same_symbol: Sequence[Order]
    equity: Decimal
    buying_power: Decimal
    ask: Decimal
    no_shorting: bool
    suspended: bool


def check_form(order: NewOrder) -> None:
    """Refuse what no market condition could make acceptable."""
    if order.side not in ("buy", "sell"):
        raise invalid_request(f"invalid side: {order.side!r}")
    if order.type not in TYPES:
        raise invalid_request(f"order type {order.type!r} is not supported by the twin: use {', '.join(TYPES)}")
    if order.time_in_force not in TIMES_IN_FORCE:
        raise invalid_request(f"time_in_force {order.time_in_force!r} is not supported by the twin: use day or gtc")
    if order.qty <= 0:
        raise unprocessable("qty must be > 0")
    if order.extended_hours:
        raise unprocessable("extended hours order must be DAY limit orders; the twin has no extended hours")
    _check_fraction(order)
    _check_price("limit_price", order.limit_price, needed=order.type == "limit")
    _check_price("stop_price", order.stop_price, needed=order.type == "stop")


def _check_fraction(order: NewOrder) -> None:
    if order.qty == order.qty.to_integral_value():
        return
    if order.time_in_force != "day":
        raise unprocessable("fractional orders must be DAY orders")
    if -int(order.qty.as_tuple().exponent) > 9:
        raise unprocessable("qty increments must be at most 9 decimal places")


def _check_price(name: str, price: Decimal | None, *, needed: bool) -> None:
    if needed and price is None:
        raise invalid_request(f"{name} is required for this order type")
    if not needed and price is not None:
        raise invalid_request(f"{name} is not allowed for this order type")
    if price is None:
        return
    if price <= 0:
        raise unprocessable(f"{name} must be > 0")
    step = Decimal("0.01") if price >= 1 else Decimal("0.0001")
    if price % step:
        raise unprocessable(f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")


def check_against(order: NewOrder, at: Standing) -> None:
    """Refuse what the symbol, the position, other orders or the money do not allow."""
    _check_symbol(order, at)
    _check_wash_trade(order, at)
    if opens_position(order, at.held):
        _check_opening(order, at)
    else:
        _check_closing(order, at)


def opens_position(order: NewOrder, held: Decimal) -> bool:
    """Tell whether the order would open or grow a position, rather than close one."""
    return held >= 0 if order.side == "buy" else held <= 0


def reserve_price(order: NewOrder, ask: Decimal) -> Decimal:
    """Return the price per share that buying power is checked with."""
    price = order.limit_price or order.stop_price or ask
    if order.side == "sell":
        return max(price, ask * SHORT_COLLAR)
    return price * MARKET_COLLAR if order.type != "limit" else price


def _check_symbol(order: NewOrder, at: Standing) -> None:
    if at.suspended:
        raise forbidden("new orders are rejected by user request")
    if not at.rules.tradable:
        raise unprocessable(f"asset {order.symbol} is not active")
    if at.rules.halted and order.type == "market":
        raise unprocessable(f'market order rejected due to trading halt on symbol: "{order.symbol}"')
    if at.rules.rejects(order.side) and not at.rules.reject_async:
        raise VenueRefusal(at.rules.reject_code, at.rules.reject_message)


def _check_wash_trade(order: NewOrder, at: Standing) -> None:
    for other in at.same_symbol:
        if other.side != order.side and _would_cross(order, other):
            resting = "limit" if other.type == "limit" else "market/stop"
            raise forbidden(
                "potential wash trade detected. use complex orders",
                existing_order_id=other.id,
                reject_reason=f"opposite side {resting} order exists",
            )


def _would_cross(order: NewOrder, other: Order) -> bool:
    if order.limit_price is None or other.limit_price is None:
        return True
    buy, sell = (order, other) if order.side == "buy" else (other, order)
    return bool(buy.limit_price is not None and sell.limit_price is not None and buy.limit_price >= sell.limit_price)


def _check_opening(order: NewOrder, at: Standing) -> None:
    if order.side == "sell":
        _check_short(order, at)
    elif any(other.side == "sell" for other in at.same_symbol):
        raise forbidden("cannot open a long buy while a short sell order is open")
    cost = order.qty * reserve_price(order, at.ask)
    if order.qty * at.ask < 1:
        raise forbidden("cost basis must be >= minimal amount of order 1")
    if cost > at.buying_power:
        raise forbidden(
            "insufficient buying power",
            buying_power=f"{at.buying_power:.2f}",
            cost_basis=f"{cost:.2f}",
        )


def _check_short(order: NewOrder, at: Standing) -> None:
    if any(other.side == "buy" for other in at.same_symbol):
        raise forbidden("cannot open a short sell while a long buy order is open")
    if order.qty != order.qty.to_integral_value():
        raise unprocessable("fractional orders cannot be sold short")
    if at.no_shorting or at.equity < LEAST_EQUITY_FOR_SHORTS:
        raise forbidden("account is not allowed to short")
    if not at.rules.easy_to_borrow and order.time_in_force != "day":
        raise unprocessable(f'only day orders are allowed for hard-to-borrow asset "{order.symbol}"')
    # A hard-to-borrow short needs a locate, which the twin does not sell.
    if not (at.rules.shortable and at.rules.easy_to_borrow):
        raise unprocessable(f'asset "{order.symbol}" cannot be sold short')


def _check_closing(order: NewOrder, at: Standing) -> None:
    related = [other for other in at.same_symbol if other.side == order.side]
    held_for_orders = sum((other.leaves for other in related), Decimal(0))
    available = abs(at.held) - held_for_orders
    if order.qty > available:
        raise forbidden(
            f"insufficient qty available for order (requested: {order.qty:f}, available: {available:f})",
            available=f"{available:f}",
            existing_qty=f"{abs(at.held):f}",
            held_for_orders=f"{held_for_orders:f}",
            related_orders=[other.id for other in related],
            symbol=order.symbol,
        )
