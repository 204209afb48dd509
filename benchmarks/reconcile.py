"""How long the gate takes to compare books and broker with 10, 1,000 and 10,000 orders of the last sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import httpx
from sqlalchemy import Engine, insert

from benchmarks.rows import Row, median_milliseconds
from benchmarks.traded_slot import SLOT, TRADED, Counted, services_on_a_twin
from src.shared.domain.ids import client_order_id, derived_id, pair_id, pair_trade_id
from src.shared.domain.orders import OrderAction, OrderState
from src.shared.domain.pairs import Direction, PairTradeState
from src.shared.infra.database.tables import fill, order_intent, pair_trade
from tests.fakes.twin_server import TwinAdmin

SIZES = (10, 1_000, 10_000)
REPEATS = 5
# Of 500 rows a page, each of them read and compared within 0.2 ms.
PAGE = 500
FIXED_MS, PER_ORDER_MS = 200.0, 0.2
_TRADES_AT_ONCE = 100
_ORDERS_A_TRADE = 4
_PAIR = pair_id(*TRADED)
_LEGS = {1: Decimal(1), 2: Decimal(-1)}
_ACTIONS = {OrderAction.OPEN: 1, OrderAction.CLOSE: -1}


def rows() -> list[Row]:
    """Trade that many orders on a fresh twin, write the books of them, and reconcile."""
    return [measure(size) for size in SIZES]


def measure(size: int) -> Row:
    """Measure with so many orders."""
    with services_on_a_twin(1) as (wired, twin):
        _fill_both_sides(wired, twin, size)
        gate = wired.execution.cycle.open_gate
        assert gate().reconciled
        taken = median_milliseconds(gate, REPEATS)
        wired.counts.found.clear()
        gate()
        counts = Counter(wired.counts.found)
        alone = median_milliseconds(lambda: wired.broker.orders_since(SLOT - timedelta(days=1)), REPEATS)
    return Row(
        f"reconcile, {size:,} orders",
        taken,
        "ms",
        "reading the same orders from the broker alone",
        alone,
        FIXED_MS + PER_ORDER_MS * size,
        {"broker requests": counts["requests"], "statements": counts["after_cursor_execute"]},
    )


def _fill_both_sides(wired: Counted, twin: TwinAdmin, size: int) -> None:
    twin.move_clock((SLOT + timedelta(seconds=5)).isoformat())
    trades = [_trade(wired, number) for number in range(-(-size // _ORDERS_A_TRADE))]
    intents = [intent for trade in trades for intent in _intents(wired, trade)]
    # The broker's orders in the order that it takes them: opposite ones must not rest together.
    by_name = {intent["client_order_id"]: intent for intent in intents}
    step = _TRADES_AT_ONCE * _ORDERS_A_TRADE
    for first in range(0, len(intents), step):
        for action in _ACTIONS:
            _send(twin.client, [intent for intent in intents[first : first + step] if intent["action"] == action])
    state = twin.state()
    for order in state["orders"]:
        by_name[order["client_order_id"]].update(
            broker_order_id=order["id"], filled_avg_price=order["filled_avg_price"]
        )
    _store(wired.engine, trades, intents, list(_fills(state["fills"], by_name)))


def _send(client: httpx.Client, intents: list[dict[str, Any]]) -> None:
    keys = {"APCA-API-KEY-ID": "bench", "APCA-API-SECRET-KEY": "bench"}
    for intent in intents:
        quantity = intent["quantity"]
        body = {
            "symbol": intent["symbol"],
            "qty": str(abs(quantity)),
            "side": "buy" if quantity > 0 else "sell",
            "type": "market",
            "time_in_force": "day",
            "client_order_id": intent["client_order_id"],
        }
        client.post("/v2/orders", json=body, headers=keys).raise_for_status()


def _trade(wired: Counted, number: int) -> dict[str, Any]:
    slot = SLOT - timedelta(minutes=number)
    return {
        "pair_trade_id": pair_trade_id(wired.settings.environment, _PAIR, slot),
        "pair_id": _PAIR,
        "symbol_1": TRADED[0],
        "symbol_2": TRADED[1],
        "beta": 1.0,
        "direction": Direction.LONG_SPREAD.value,
        "state": PairTradeState.CLOSED.value,
        "slot": slot,
        "target_1": _LEGS[1],
        "target_2": _LEGS[2],
        "closed_slot": slot,
        "close_reason": "exit",
        "realized_pnl": Decimal(0),
        "version": 4,
    }


def _intents(wired: Counted, trade: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for (action, sign), leg in product(_ACTIONS.items(), _LEGS):
        name = client_order_id(wired.settings.environment, trade["pair_trade_id"], leg, action.value, 1)
        yield {
            "intent_id": derived_id("intent", name),
            "client_order_id": name,
            "pair_trade_id": trade["pair_trade_id"],
            "leg": leg,
            "action": action.value,
            "attempt": 1,
            "symbol": trade[f"symbol_{leg}"],
            "quantity": _LEGS[leg] * sign,
            "state": OrderState.FILLED.value,
            "slot": trade["slot"],
            "epoch": 1,
            "version": 4,
            "created_at": SLOT,
            "sent_at": SLOT,
            "filled_quantity": _LEGS[leg] * sign,
        }


def _fills(told: list[dict[str, Any]], by_name: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in told:
        intent = by_name[one["client_order_id"]]
        yield {
            "fill_id": one["id"],
            "intent_id": intent["intent_id"],
            "broker_order_id": intent["broker_order_id"],
            "symbol": intent["symbol"],
            "quantity": intent["quantity"],
            "price": Decimal(one["price"]),
            "occurred_at": SLOT,
        }


def _store(engine: Engine, trades: list[Any], intents: list[Any], fills: list[Any]) -> None:
    with engine.begin() as connection:
        for table, found in ((pair_trade, trades), (order_intent, intents), (fill, fills)):
            connection.execute(insert(table), found)
