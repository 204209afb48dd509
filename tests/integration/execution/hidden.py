"""A close that the venue takes and shows nobody, and how much our orders have sold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from src.shared.domain.orders import OrderReport
from tests.integration.execution.desk import Desk


def sold(desk: Desk, symbol: str) -> int:
    """How many shares of a symbol our orders have sold."""
    ours = {order.broker_order_id for order in desk.broker.orders.values()}
    fills = [each for each in desk.broker.fills if each.symbol == symbol and each.broker_order_id in ours]
    return -sum(int(each.quantity) for each in fills if each.quantity < 0)


def close_named(desk: Desk, attempt: int) -> str:
    """Name the close of the first leg."""
    return next(name for name in desk.broker.orders if name.endswith(f"1-close-{attempt}"))


def hide_close(desk: Desk, filled: int) -> Callable[[], None]:
    """Let the close of AAA be taken without an answer, be filled so far, and be in no list; returns what shows it.

    With nothing filled by then, all of it is when it is looked up at last.
    """
    broker = desk.broker
    real = broker.submit_market_order, broker.order_by_client_id, broker.orders_since, broker.open_orders
    submit, lookup, listing, working = real
    broker.script["AAA"] = deque(["hidden"])

    def post(name: str, symbol: str, quantity: Decimal, **options: Any) -> Any:
        is_new = name not in broker.orders
        try:
            return submit(name, symbol, quantity, **options)
        finally:
            if is_new and filled and name.endswith("1-close-1"):
                broker._behaviour[name] = "never"  # but for what it has by now
                broker.fill_late(name, Decimal(-filled))

    def is_shown(order: OrderReport) -> bool:
        return not order.client_order_id.endswith("1-close-1")

    def look_up(name: str, **_: Any) -> OrderReport | None:
        order = broker.orders.get(name)
        return lookup(name) if order is not None and is_shown(order) else None

    broker.submit_market_order = post  # type: ignore[method-assign,assignment]
    broker.order_by_client_id = look_up  # type: ignore[method-assign,assignment]
    broker.orders_since = lambda moment: [*filter(is_shown, listing(moment))]  # type: ignore[method-assign]
    broker.open_orders = lambda: [*filter(is_shown, working())]  # type: ignore[method-assign]

    def show() -> None:
        broker.submit_market_order, broker.order_by_client_id = submit, lookup  # type: ignore[method-assign]
        broker.orders_since, broker.open_orders = listing, working  # type: ignore[method-assign]

    return show
