"""Answers of the broker as it writes them."""

from __future__ import annotations

from typing import Any

ORDER: dict[str, Any] = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "tw-twin-1",
    "created_at": "2026-03-16T18:38:01.942282123Z",
    "updated_at": "2026-03-16T18:38:01.942282Z",
    "submitted_at": "2026-03-16T18:38:01.937734Z",
    "filled_at": None,
    "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
    "symbol": "SPY",
    "asset_class": "us_equity",
    "notional": None,
    "qty": "10",
    "filled_qty": "0",
    "filled_avg_price": None,
    "order_class": "",
    "order_type": "market",
    "type": "market",
    "side": "buy",
    "time_in_force": "day",
    "status": "accepted",
    "extended_hours": False,
    "legs": None,
}

FILL: dict[str, Any] = {
    "id": "20260316143801942::e5a1c2de-0000-4000-8000-000000000001",
    "account_id": "e6fe16f3-64a4-4921-8928-cadf02f92f98",
    "activity_type": "FILL",
    "transaction_time": "2026-03-16T18:38:02.1Z",
    "type": "fill",
    "price": "510.25",
    "qty": "10",
    "side": "buy",
    "symbol": "SPY",
    "leaves_qty": "0",
    "order_id": ORDER["id"],
    "cum_qty": "10",
    "order_status": "filled",
}

POSITION: dict[str, Any] = {
    "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
    "symbol": "QQQ",
    "exchange": "NASDAQ",
    "asset_class": "us_equity",
    "qty": "-5",
    "avg_entry_price": "440.5",
    "side": "short",
    "cost_basis": "-2202.5",
}

ASSET: dict[str, Any] = {
    "id": "b28f4066-5c6d-479b-a2af-85dc1a8f16fb",
    "class": "us_equity",
    "exchange": "ARCA",
    "symbol": "SPY",
    "name": "SPDR S&P 500 ETF Trust",
    "status": "active",
    "tradable": True,
    "marginable": True,
    "shortable": True,
    "easy_to_borrow": True,
    "fractionable": True,
}

CLOCK: dict[str, Any] = {
    "timestamp": "2026-03-16T14:38:02.123456789-04:00",
    "is_open": True,
    "next_open": "2026-03-17T09:30:00-04:00",
    "next_close": "2026-03-16T16:00:00-04:00",
}


def order(**changes: Any) -> dict[str, Any]:
    """Change an order."""
    return {**ORDER, **changes}


def fill(**changes: Any) -> dict[str, Any]:
    """Change a fill."""
    return {**FILL, **changes}


def position(**changes: Any) -> dict[str, Any]:
    """Change a position."""
    return {**POSITION, **changes}


def asset(**changes: Any) -> dict[str, Any]:
    """Change an asset."""
    return {**ASSET, **changes}
