"""Small trades, orders and reports to put tests together from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from src.services.execution.domain.clearance import Around
from src.services.execution.domain.two_leg import Rules, Situation
from src.shared.domain.ids import client_order_id, derived_id, pair_trade_id, symbol_trade_name
from src.shared.domain.orders import OrderAction, OrderIntent, OrderReport, OrderState
from src.shared.domain.pairs import Direction, PairTrade, PairTradeState

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
NOW = SLOT + timedelta(seconds=5)
RULES = Rules(timedelta(seconds=60), Decimal("0.05"), 3)


def trade(state: PairTradeState = PairTradeState.OPENING, **changes: Any) -> PairTrade:
    """Long 10 AAA against short 8 BBB: leg 2 goes first."""
    made = PairTrade(
        id=pair_trade_id("twin", "AAA/BBB", SLOT),
        pair_id="AAA/BBB",
        symbol_1="AAA",
        symbol_2="BBB",
        beta=0.8,
        direction=Direction.LONG_SPREAD,
        state=state,
        slot=SLOT,
        target_1=Decimal(10),
        target_2=Decimal(-8),
        version=1,
    )
    return replace(made, **changes)


def single(state: PairTradeState = PairTradeState.OPENING, **changes: Any) -> PairTrade:
    """Long 10 AAA for the instance `trend`, and no other leg."""
    name = symbol_trade_name("trend", "AAA")
    changes = {"symbol_2": None, "target_2": Decimal(0), "beta": 0.0, "instance_id": "trend", **changes}
    return trade(state, id=pair_trade_id("twin", name, SLOT), pair_id=name, **changes)


def intent(
    leg: int = 1,
    quantity: int = 10,
    state: OrderState = OrderState.FILLED,
    filled: int | None = None,
    action: OrderAction = OrderAction.OPEN,
    attempt: int = 1,
    **changes: Any,
) -> OrderIntent:
    """An order of `trade()`; one that is FILLED has all of it unless said otherwise."""
    name = client_order_id("twin", trade().id, leg, action.value, attempt)
    done = quantity if filled is None and state is OrderState.FILLED else filled or 0
    unsent = state is OrderState.PLANNED
    made = OrderIntent(
        id=derived_id("intent", name),
        client_order_id=name,
        pair_trade_id=trade().id,
        leg=leg,
        action=action,
        attempt=attempt,
        symbol=trade().symbol(leg),
        quantity=Decimal(quantity),
        state=state,
        slot=SLOT,
        epoch=1,
        version=1,
        created_at=SLOT,
        sent_at=None if unsent else SLOT,
        broker_order_id=None if unsent else f"b-{name}",
        filled_quantity=Decimal(done),
    )
    return replace(made, **changes)


def report(of: OrderIntent, status: str, filled: int | None = None, **changes: Any) -> OrderReport:
    """What the broker says of an order; "filled" means all of it unless said otherwise."""
    shares = of.quantity if filled is None and status == "filled" else Decimal(filled or 0)
    made = OrderReport(
        of.broker_order_id or f"b-{of.client_order_id}",
        of.client_order_id,
        of.symbol,
        of.quantity,
        shares,
        Decimal(100) if shares else None,
        status,
        SLOT,
        SLOT,
    )
    return replace(made, **changes)


def situation(of: PairTrade, *intents: OrderIntent, **changes: Any) -> Situation:
    """All reported fills are booked, and the broker has what the books say, unless said otherwise."""
    booked = {str(i.id): i.filled_quantity for i in intents}
    plain = Situation(of, intents, booked, frozenset(), SLOT, NOW)
    around = {of.symbol(leg): Around(plain.held(leg), plain.held(leg)) for leg in of.legs}
    return replace(plain, **{"around": around, **changes})
