"""One example of every kind of event."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from src.shared.messages.base import Event

SLOT = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)

_FACTS: dict[str, Any] = {
    "vendor": "alpaca",
    "symbols": ("SPY", "QQQ"),
    "rows": 130,
    "rejected": 2,
    "complete": False,
    "pair_id": "SPY/QQQ",
    "action": "enter_long",
    "reason": "z is -2.31",
    "z": -2.31,
    "before": "observe",
    "after": "active",
    "mode": "active",
    "who": "review-pairs",
    "why": "the gate passed",
    "code": "MAX_GROSS",
    "value_before": Decimal("1.5"),
    "value_after": Decimal("1.2"),
    "quantity_1": Decimal("10"),
    "quantity_2": Decimal("-7"),
    "client_order_id": "tw-twin-0123456789abcdef0123-1-open-1",
    "pair_trade_id": "00000000-0000-5000-8000-000000000001",
    "symbol": "SPY",
    "timeframe": "1Hour",
    "adjustment": "split",
    "factor": 0.25,
    "quantity": Decimal("-10"),
    "filled_quantity": Decimal("-4.000000001"),
    "filled_avg_price": Decimal("512.345678"),
    "direction": "long_spread",
    "realized_pnl": Decimal("-1234.567"),
    "holding_bars": 12,
    "severity": "warning",
    "title": "Disk is nearly full",
    "detail": "97 % used",
}


def example(event_type: type[Event], aggregate_id: object = "a", version: int = 1, **facts: Any) -> Event:
    """Make an event of a class; `facts` replace the example's own."""
    wanted = set(event_type.model_fields) - set(Event.model_fields)
    chosen = {name: _FACTS[name] for name in wanted} | facts
    return event_type.of(aggregate_id, version, SLOT, "2026-03-09T14:30Z", **chosen)
