"""Domain values as Alpaca spells them: money and quantities as strings, times as ISO texts."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import Response

from src.services.twin.domain.book import Position
from src.services.twin.domain.moments import (
    NEW_YORK,
    iso_new_york,
    iso_utc,
    new_york_day,
    to_datetime,
)
from src.services.twin.domain.orders import Fill, Order
from src.services.twin.domain.sessions import Session
from src.services.twin.domain.venue import Event, Venue

_NAMESPACE = uuid.UUID("5a0d6e55-9a0b-4a3e-8a57-1a9f6c2b7d21")
ACCOUNT_ID = str(uuid.uuid5(_NAMESPACE, "account"))
JsonDict = dict[str, Any]


class Json(Response):
    """An answer written by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON bytes."""
        return orjson.dumps(content)


def plain(value: Decimal | None) -> str | None:
    """Spell a number without exponent or trailing zeros."""
    if value is None:
        return None
    return f"{value.normalize():f}" if value else "0"


def cents(value: Decimal) -> str:
    """Spell money with at most two decimals."""
    return plain(value.quantize(Decimal("0.01"))) or "0"


def asset_id(symbol: str) -> str:
    """Return the asset's id, the same for ever."""
    return str(uuid.uuid5(_NAMESPACE, f"asset:{symbol}"))


def order_json(order: Order) -> JsonDict:
    """Return an order as GET /v2/orders shows it."""
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": iso_utc(order.created_at),
        "updated_at": iso_utc(order.updated_at),
        "submitted_at": iso_utc(order.submitted_at),
        "filled_at": iso_utc(order.filled_at) if not order.leaves else None,
        "expired_at": iso_utc(order.expired_at),
        "expires_at": iso_utc(order.expires_at),
        "canceled_at": iso_utc(order.canceled_at),
        "cancel_requested_at": iso_utc(order.cancel_requested_at or order.canceled_at),
        "failed_at": iso_utc(order.failed_at),
        "replaced_at": iso_utc(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": plain(order.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": plain(order.filled_avg_price),
        "order_class": "",
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "position_intent": order.position_intent,
        "time_in_force": order.time_in_force,
        "limit_price": plain(order.limit_price),
        "stop_price": plain(order.stop_price),
        "status": order.status.value,
        "extended_hours": order.extended_hours,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "commission": None,
        "subtag": None,
        "source": None,
    }


def fill_json(fill: Fill) -> JsonDict:
    """Return an execution as GET /v2/account/activities shows it."""
    return {
        "id": fill.id,
        "account_id": ACCOUNT_ID,
        "activity_type": "FILL",
        "transaction_time": iso_utc(fill.at),
        "type": fill.kind,
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "side": fill.side,
        "symbol": fill.symbol,
        "leaves_qty": plain(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": plain(fill.cum_qty),
        "order_status": "partially_filled" if fill.leaves_qty else "filled",
    }


def event_json(event: Event) -> JsonDict:
    """Return a trade update as the websocket sends it."""
    data: JsonDict = {
        "event": event.name,
        "execution_id": event.fill.execution_id
        if event.fill
        else str(uuid.uuid5(_NAMESPACE, f"{event.order.id}:{event.name}")),
        "order": order_json(event.order),
        "timestamp": iso_utc(event.at),
        "at": iso_utc(event.at),
    }
    if event.fill:
        data["price"] = plain(event.fill.price)
        data["qty"] = plain(event.fill.qty)
        data["position_qty"] = plain(event.fill.position_qty)
    return {"stream": "trade_updates", "data": data}


def position_json(venue: Venue, position: Position) -> JsonDict:
    """Return a position marked at the current price."""
    symbol, qty = position.symbol, position.qty
    price = venue.price(symbol) or position.avg_entry
    last_day = _last_day_price(venue, symbol, price)
    value, cost = qty * price, position.cost_basis
    sign = 1 if qty > 0 else -1
    held = sum((o.leaves for o in venue.open_orders if o.symbol == symbol and not o.opens_position), start=Decimal(0))
    intraday = qty * (price - last_day)
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol,
        "exchange": "NYSE",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": plain(qty),
        "qty_available": plain(sign * (abs(qty) - held)),
        "side": "long" if qty > 0 else "short",
        "avg_entry_price": plain(position.avg_entry.quantize(Decimal("0.000001"))),
        "market_value": plain(value),
        "cost_basis": plain(cost.quantize(Decimal("0.000001"))),
        "unrealized_pl": plain((value - cost).quantize(Decimal("0.000001"))),
        "unrealized_plpc": plain(((value - cost) / abs(cost)).quantize(Decimal("0.000001"))),
        "unrealized_intraday_pl": plain(intraday),
        "unrealized_intraday_plpc": plain((intraday / abs(qty * last_day)).quantize(Decimal("0.000001"))),
        "current_price": plain(price),
        "lastday_price": plain(last_day),
        "change_today": plain((price / last_day - 1).quantize(Decimal("0.000001"))),
    }


def account_json(venue: Venue) -> JsonDict:
    """Return the account marked at current prices."""
    worth = venue.valuation()
    power, equity = cents(worth.buying_power), cents(worth.equity)
    cash_power = cents(max(Decimal(0), worth.buying_power / worth.multiplier))
    return {
        "id": ACCOUNT_ID,
        "account_number": "TWIN00000001",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": cents(worth.cash),
        "equity": equity,
        "portfolio_value": equity,
        "last_equity": cents(venue.last_equity),
        "buying_power": power,
        "regt_buying_power": power,
        "non_marginable_buying_power": cash_power,
        "options_buying_power": cash_power,
        "long_market_value": cents(worth.long_value),
        "short_market_value": cents(worth.short_value),
        "initial_margin": cents(worth.initial_margin),
        "maintenance_margin": cents(worth.maintenance_margin),
        "last_maintenance_margin": "0",
        "sma": "0",
        "multiplier": plain(worth.multiplier),
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "pattern_day_trader": False,
        "daytrade_count": 0,
        "daytrading_buying_power": "0",
        "shorting_enabled": not venue.terms.no_shorting,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": venue.terms.suspended,
        "created_at": "2024-01-01T05:00:00Z",
    }


def asset_json(venue: Venue, symbol: str) -> JsonDict:
    """Return an asset with its present flags."""
    rules = venue.rules_of(symbol)
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NYSE",
        "symbol": symbol,
        "name": venue.market.names.get(symbol, symbol),
        "status": "active" if rules.tradable else "inactive",
        "tradable": rules.tradable,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "shortable": rules.shortable,
        "easy_to_borrow": rules.shortable and rules.easy_to_borrow,
        "fractionable": True,
        "attributes": [],
    }


def clock_json(venue: Venue, at: int) -> JsonDict:
    """Return the venue's clock as it is, or says it is, at a moment."""
    return {
        "timestamp": iso_new_york(at),
        "is_open": venue.sessions.open_at(at) is not None,
        "next_open": iso_new_york(venue.sessions.next_open(at).open),
        "next_close": iso_new_york(venue.sessions.next_close(at).close),
    }


def session_json(session: Session) -> JsonDict:
    """Return one day of the calendar, times in New York."""
    close = to_datetime(session.close).astimezone(NEW_YORK)
    return {
        "date": session.day.isoformat(),
        "open": f"{to_datetime(session.open).astimezone(NEW_YORK):%H:%M}",
        "close": f"{close:%H:%M}",
        "session_open": "0400",
        "session_close": f"{close + timedelta(hours=4):%H%M}",
        "settlement_date": session.day.isoformat(),
    }


def _last_day_price(venue: Venue, symbol: str, default: Decimal) -> Decimal:
    today = new_york_day(venue.now)
    session = venue.sessions.open_at(venue.now) or venue.sessions.next_open(venue.now)
    past = venue.sessions.all[venue.sessions.session_of[session.first_slot] - 1]
    if past.day == today:  # after the close: the day before is the last day
        past = venue.sessions.all[venue.sessions.session_of[past.first_slot] - 1]
    close = venue.market.last_close(symbol, past.last_slot + 1)
    return default if close is None else Decimal(str(close))
