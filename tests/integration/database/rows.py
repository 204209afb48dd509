"""Rows that fit, to be bent by the tests."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, insert

from src.shared.infra.database.tables import (
    fill,
    ledger_entry,
    ledger_posting,
    load_run,
    order_intent,
    pair_registry,
    pair_trade,
)
from tests.fakes.events import SLOT

PAIR: dict[str, Any] = {
    "pair_id": "SPY/QQQ",
    "symbol_1": "SPY",
    "symbol_2": "QQQ",
    "alpha": 0.1,
    "beta": 0.9,
    "half_life_bars": 20.0,
    "z_window_bars": 40,
    "time_stop_bars": 60,
    "correlation": 0.8,
    "fitted_from": SLOT - timedelta(days=90),
    "fitted_to": SLOT,
    "mode": "observe",
    "source": "test",
    "updated_at": SLOT,
}

READING: dict[str, Any] = {
    "pair_id": "SPY/QQQ",
    "slot": SLOT,
    "price_1": 500.0,
    "price_2": 400.0,
    "spread": 0.01,
    "mean": 0.0,
    "sd": 0.005,
    "z": 2.0,
    "window_bars": 40,
}

BAR: dict[str, Any] = {
    "symbol": "SPY",
    "timeframe": "1Hour",
    "bar_start": SLOT - timedelta(hours=1),
    "bar_end": SLOT,
    "vendor": "alpaca",
    "adjustment": "raw",
    "open": 500.0,
    "high": 501.0,
    "low": 499.0,
    "close": 500.5,
    "volume": 1000.0,
}

FILL: dict[str, Any] = {
    "broker_order_id": "broker-1",
    "symbol": "SPY",
    "quantity": Decimal(10),
    "price": Decimal(500),
    "occurred_at": SLOT,
}

ACTION: dict[str, Any] = {
    "corporate_action_id": "action-1",
    "symbol": "SPY",
    "kind": "split",
    "vendor_type": "forward_split",
    "ex_date": SLOT.date(),
    "old_rate": Decimal(1),
    "new_rate": Decimal(2),
    "cash_per_share": Decimal(0),
    "raw": {},
}


def add_load(connection: Connection) -> UUID:
    """Write a load that bars can belong to."""
    load = uuid4()
    connection.execute(
        insert(load_run).values(
            load_run_id=load,
            vendor="alpaca",
            timeframe="1Hour",
            symbols=["SPY"],
            window_start=SLOT - timedelta(hours=1),
            window_end=SLOT,
            state="complete",
            started_at=SLOT,
        )
    )
    return load


def add_trade(connection: Connection) -> UUID:
    """Write a pair with an open trade."""
    trade = uuid4()
    connection.execute(insert(pair_registry).values(PAIR))
    connection.execute(
        insert(pair_trade).values(
            pair_trade_id=trade,
            pair_id="SPY/QQQ",
            symbol_1="SPY",
            symbol_2="QQQ",
            beta=0.9,
            direction="long_spread",
            state="opening",
            slot=SLOT,
            target_1=Decimal(10),
            target_2=Decimal(-9),
            version=1,
        )
    )
    return trade


def add_intent(connection: Connection, trade: UUID) -> UUID:
    """Write an order intent of the trade."""
    intent = uuid4()
    connection.execute(
        insert(order_intent).values(
            intent_id=intent,
            client_order_id=f"tw-{intent.hex[:20]}",
            pair_trade_id=trade,
            leg=1,
            action="open",
            attempt=1,
            symbol="SPY",
            quantity=Decimal(10),
            state="planned",
            slot=SLOT,
            epoch=1,
            version=1,
            created_at=SLOT,
        )
    )
    return intent


def add_fill(connection: Connection) -> tuple[UUID, str]:
    """Write a fill; return its trade and its id."""
    trade = add_trade(connection)
    fill_id = uuid4().hex
    connection.execute(insert(fill).values(FILL | {"fill_id": fill_id, "intent_id": add_intent(connection, trade)}))
    return trade, fill_id


def add_entry(connection: Connection, trade: UUID, fill_id: str) -> UUID:
    """Write a ledger entry without postings."""
    entry = uuid4()
    connection.execute(
        insert(ledger_entry).values(
            entry_id=entry, kind="trade", pair_trade_id=trade, fill_id=fill_id, occurred_at=SLOT
        )
    )
    return entry


def post(connection: Connection, entry: UUID, account: str, asset: str, amount: str) -> None:
    """Write one posting."""
    connection.execute(
        insert(ledger_posting).values(entry_id=entry, account=account, asset=asset, amount=Decimal(amount))
    )
