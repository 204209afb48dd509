"""Reads query parameters and JSON bodies, and says in Alpaca's way when they can't be read."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from starlette.requests import Request

from src.services.twin.domain.errors import invalid_request, unprocessable
from src.services.twin.domain.moments import parse_moment
from src.services.twin.domain.orders import NewOrder, Order


async def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request."""
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as exc:
        raise invalid_request("request body format is invalid") from exc
    if not isinstance(body, dict):
        raise invalid_request("request body format is invalid")
    return body


def number(name: str, value: Any) -> Decimal | None:
    """Return a finite decimal, or None for nothing."""
    if value is None or value == "":
        return None
    try:
        result = Decimal(str(value))
    except InvalidOperation as exc:
        raise invalid_request(f"{name} is not a number: {value!r}") from exc
    if isinstance(value, bool) or not result.is_finite():
        raise invalid_request(f"{name} is not a number: {value!r}")
    return result.normalize()


def moment(request: Request, name: str) -> int | None:
    """Return a query parameter as microseconds."""
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        return parse_moment(text)
    except ValueError as exc:
        raise invalid_request(f"{name} is not an ISO time: {text!r}") from exc


def day(request: Request, name: str, default: date) -> date:
    """Return a query parameter as a date."""
    text = request.query_params.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text[:10])
    except ValueError as exc:
        raise invalid_request(f"{name} is not a date: {text!r}") from exc


def whole(request: Request, name: str, default: int, most: int) -> int:
    """Return a query parameter between 1 and `most`."""
    text = request.query_params.get(name, "")
    if text and not (text.isdecimal() and 1 <= int(text) <= most):
        raise invalid_request(f"{name} must be a whole number between 1 and {most}")
    return int(text) if text else default


def choice(request: Request, name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return a query parameter that must be one of a few words."""
    text = request.query_params.get(name, default).lower()
    if text not in allowed:
        raise invalid_request(f"{name} must be one of {', '.join(allowed)}")
    return text


def words(request: Request, name: str) -> list[str]:
    """Return the parts of a comma-separated query parameter."""
    return [part for part in request.query_params.get(name, "").split(",") if part]


def new_order(body: dict[str, Any]) -> NewOrder:
    """Read the body of POST /v2/orders."""
    for name in ("symbol", "side", "type", "time_in_force"):
        if not isinstance(body.get(name), str):
            raise invalid_request(f"{name} is required")
    if body.get("order_class") not in (None, "", "simple"):
        raise invalid_request("only simple orders are supported by the twin")
    if body.get("notional") is not None:
        raise invalid_request("notional orders are not supported by the twin: give qty")
    qty = number("qty", body.get("qty"))
    if qty is None:
        raise unprocessable("qty must be > 0")
    return NewOrder(
        symbol=body["symbol"].upper(),
        side=body["side"],
        type=body["type"],
        time_in_force=body["time_in_force"],
        qty=qty,
        client_order_id=_client_id(body),
        limit_price=number("limit_price", body.get("limit_price")),
        stop_price=number("stop_price", body.get("stop_price")),
        extended_hours=body.get("extended_hours") is True,
        position_intent=body.get("position_intent"),
    )


def replacement(body: dict[str, Any], old: Order) -> NewOrder:
    """Read the body of PATCH /v2/orders/{id} on top of the order it replaces."""
    return NewOrder(
        symbol=old.symbol,
        side=old.side,
        type=old.type,
        time_in_force=str(body.get("time_in_force") or old.time_in_force),
        qty=number("qty", body.get("qty")) or old.qty,
        client_order_id=_client_id(body),
        limit_price=number("limit_price", body.get("limit_price")) or old.limit_price,
        stop_price=number("stop_price", body.get("stop_price")) or old.stop_price,
        extended_hours=old.extended_hours,
        position_intent=old.position_intent,
    )


def _client_id(body: dict[str, Any]) -> str | None:
    client_id = body.get("client_order_id") or None
    if client_id is not None and not (isinstance(client_id, str) and len(client_id) <= 128):
        raise invalid_request("client_order_id must be no more than 128 characters")
    return client_id
