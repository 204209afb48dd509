"""Alpaca's trading API: clock, calendar, account, assets, orders, positions, activities."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.api import params, render
from src.services.twin.api.render import Json
from src.services.twin.domain.book import Position
from src.services.twin.domain.errors import VenueRefusal, forbidden, invalid_request, not_found
from src.services.twin.domain.moments import NEW_YORK, SECOND
from src.services.twin.domain.orders import Fill, NewOrder, Order
from src.services.twin.domain.venue import Venue
from src.services.twin.use_cases import Twin

SIDES = ("buy", "sell")
DIRECTIONS = ("asc", "desc")
MULTIPLIERS = ("1", "2", "4")


def trading_routes(twin: Twin) -> APIRouter:
    """Return the routes under /v2 that serve one account."""
    router = APIRouter(prefix="/v2")
    _account_routes(router, twin)
    _asset_routes(router, twin)
    _order_routes(router, twin)
    _single_order_routes(router, twin)
    _position_routes(router, twin)
    _activity_routes(router, twin)
    return router


def _account_routes(router: APIRouter, twin: Twin) -> None:
    configuration: dict[str, Any] = {
        "fractional_trading": True,
        "trade_confirm_email": "all",
        "ptp_no_exception_entry": False,
        "max_options_trading_level": None,
    }

    @router.get("/clock")
    async def clock() -> Response:
        return Json(render.clock_json(twin.venue, twin.told_now()))

    @router.get("/calendar")
    async def calendar(request: Request) -> Response:
        first = params.day(request, "start", date.min)
        last = params.day(request, "end", date.max)
        return Json([render.session_json(session) for session in twin.venue.sessions.between(first, last)])

    @router.get("/account")
    async def account() -> Response:
        return Json(render.account_json(twin.catch_up()))

    @router.get("/account/configurations")
    async def configurations() -> Response:
        return Json(configuration | _terms(twin.venue))

    @router.patch("/account/configurations")
    async def configure(request: Request) -> Response:
        body = await params.body_of(request)
        _change_terms(twin.venue, body)
        configuration.update({name: body[name] for name in configuration if name in body})
        return Json(configuration | _terms(twin.venue))

    @router.get("/account/portfolio/history")
    async def history() -> Response:
        return Json(_history(twin.catch_up()))


def _terms(venue: Venue) -> dict[str, Any]:
    return {
        "max_margin_multiplier": render.plain(venue.terms.multiplier),
        "no_shorting": venue.terms.no_shorting,
        "suspend_trade": venue.terms.suspended,
    }


def _change_terms(venue: Venue, body: dict[str, Any]) -> None:
    multiplier = str(body.get("max_margin_multiplier", render.plain(venue.terms.multiplier)))
    if multiplier not in MULTIPLIERS:
        raise invalid_request("max_margin_multiplier must be 1, 2 or 4")
    venue.terms.multiplier = Decimal(multiplier)
    venue.terms.no_shorting = bool(body.get("no_shorting", venue.terms.no_shorting))
    venue.terms.suspended = bool(body.get("suspend_trade", venue.terms.suspended))


def _history(venue: Venue) -> dict[str, Any]:
    base = venue.opening_cash
    gains = [equity - base for _, equity in venue.closes]
    midnights = [date.fromisoformat(day) for day, _ in venue.closes]
    return {
        "timestamp": [_epoch(day) for day in midnights],
        "equity": [float(equity) for _, equity in venue.closes],
        "profit_loss": [float(gain) for gain in gains],
        "profit_loss_pct": [float(gain / base) for gain in gains],
        "base_value": float(base),
        "timeframe": "1D",
    }


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp())


def _asset_routes(router: APIRouter, twin: Twin) -> None:
    venue = twin.venue

    @router.get("/assets")
    async def assets(request: Request) -> Response:
        status = request.query_params.get("status")
        kind = request.query_params.get("asset_class", "us_equity")
        rows = [render.asset_json(venue, symbol) for symbol in venue.market.symbols]
        return Json([row for row in rows if status in (None, row["status"]) and kind == "us_equity"])

    @router.get("/assets/{symbol_or_id}")
    async def asset(symbol_or_id: str) -> Response:
        symbol = _symbol(venue, symbol_or_id)
        if symbol is None:
            raise not_found(f"asset not found for {symbol_or_id}")
        return Json(render.asset_json(venue, symbol))


def _symbol(venue: Venue, symbol_or_id: str) -> str | None:
    return next((s for s in venue.market.symbols if symbol_or_id in (s, render.asset_id(s))), None)


def _order_routes(router: APIRouter, twin: Twin) -> None:
    @router.post("/orders")
    async def submit(request: Request) -> Response:
        order = twin.submit(params.new_order(await params.body_of(request)))
        return Json(render.order_json(order))

    @router.get("/orders")
    async def orders(request: Request) -> Response:
        return Json([render.order_json(order) for order in _listed(twin.catch_up(), request)])

    @router.delete("/orders")
    async def cancel_all() -> Response:
        return Json([_cancel_one(twin, order) for order in twin.catch_up().open_orders], status_code=207)

    @router.get("/orders:by_client_order_id")
    async def by_client_id(request: Request) -> Response:
        client_id = request.query_params.get("client_order_id", "")
        venue = twin.catch_up()
        order = venue.by_client_id.get(client_id)
        if order is None or venue.scripts.is_hidden(order, venue.host):
            raise not_found(f"order not found for {client_id}")
        return Json(render.order_json(order))


def _single_order_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/orders/{order_id}")
    async def order(order_id: str) -> Response:
        return Json(render.order_json(twin.catch_up().order(order_id)))

    @router.patch("/orders/{order_id}")
    async def replace(order_id: str, request: Request) -> Response:
        old = twin.catch_up().order(order_id)
        changed = params.replacement(await params.body_of(request), old)
        return Json(render.order_json(twin.replace(order_id, changed)))

    @router.delete("/orders/{order_id}")
    async def cancel(order_id: str) -> Response:
        twin.cancel(order_id)
        return Response(status_code=204)


def _cancel_one(twin: Twin, order: Order) -> dict[str, Any]:
    try:
        twin.cancel(order.id)
    except VenueRefusal as refusal:
        return {"id": order.id, "status": refusal.status, "body": refusal.body()}
    return {"id": order.id, "status": 200, "body": render.order_json(order)}


def _listed(venue: Venue, request: Request) -> list[Order]:
    status = params.choice(request, "status", "open", ("open", "closed", "all"))
    side = params.choice(request, "side", "", ("", *SIDES))
    after, until = params.moment(request, "after"), params.moment(request, "until")
    symbols = set(params.words(request, "symbols"))
    limit = params.whole(request, "limit", 50, 500)
    descending = params.choice(request, "direction", "desc", DIRECTIONS) == "desc"
    pool = venue.open_orders if status == "open" else list(venue.orders.values())
    found = [
        order
        for order in pool
        if (status != "closed" or not order.is_open)
        and (not side or order.side == side)
        and (after is None or order.submitted_at > after)
        and (until is None or order.submitted_at < until)
        and (not symbols or order.symbol in symbols)
        and not venue.scripts.is_hidden(order, venue.host)
    ]
    found.sort(key=lambda order: order.seq, reverse=descending)
    return found[:limit]


def _position_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/positions")
    async def positions() -> Response:
        venue = twin.catch_up()
        return Json([render.position_json(venue, p) for _, p in sorted(twin.told_positions().items())])

    @router.get("/positions/{symbol_or_id}")
    async def position(symbol_or_id: str) -> Response:
        told = twin.told_positions()
        return Json(render.position_json(twin.venue, told[_held(twin.venue, symbol_or_id, told)]))

    @router.delete("/positions/{symbol_or_id}")
    async def close(symbol_or_id: str, request: Request) -> Response:
        venue = twin.catch_up()
        symbol = _held(venue, symbol_or_id, venue.book.positions)
        return Json(render.order_json(twin.submit(_closing(venue, symbol, _close_qty(venue, symbol, request)))))

    @router.delete("/positions")
    async def close_all(request: Request) -> Response:
        venue = twin.catch_up()
        if request.query_params.get("cancel_orders", "").lower() == "true":
            for order in venue.open_orders:
                _cancel_one(twin, order)
        return Json([_close_one(twin, symbol) for symbol in sorted(venue.book.positions)], status_code=207)


def _held(venue: Venue, symbol_or_id: str, positions: Mapping[str, Position]) -> str:
    symbol = _symbol(venue, symbol_or_id)
    if symbol is None or symbol not in positions:
        raise not_found("position does not exist")
    return symbol


def _close_qty(venue: Venue, symbol: str, request: Request) -> Decimal:
    held = abs(venue.book.held(symbol))
    percentage = params.number("percentage", request.query_params.get("percentage"))
    if percentage is None:
        return params.number("qty", request.query_params.get("qty")) or held
    if not 0 < percentage <= 100:
        raise invalid_request("percentage must be between 0 and 100")
    part = (held * percentage / 100).quantize(Decimal("1e-9"))
    return part.to_integral_value() if venue.book.held(symbol) < 0 else part


def _closing(venue: Venue, symbol: str, qty: Decimal) -> NewOrder:
    if qty > abs(venue.book.held(symbol)):
        raise forbidden(f"insufficient qty available for order (requested: {qty:f})", symbol=symbol)
    side = "sell" if venue.book.held(symbol) > 0 else "buy"
    return NewOrder(symbol=symbol, side=side, type="market", time_in_force="day", qty=qty)


def _close_one(twin: Twin, symbol: str) -> dict[str, Any]:
    try:
        order = twin.submit(_closing(twin.venue, symbol, abs(twin.venue.book.held(symbol))))
    except VenueRefusal as refusal:
        return {"symbol": symbol, "status": refusal.status, "body": refusal.body()}
    return {"symbol": symbol, "status": 200, "body": render.order_json(order)}


def _activity_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/account/activities")
    async def activities(request: Request) -> Response:
        wanted = params.words(request, "activity_types")
        fills = _paged(twin.told_fills(), request) if not wanted or "FILL" in wanted else []
        return Json([render.fill_json(fill) for fill in fills])

    @router.get("/account/activities/{kind}")
    async def activities_of(kind: str, request: Request) -> Response:
        fills = _paged(twin.told_fills(), request) if kind.upper() == "FILL" else []
        return Json([render.fill_json(fill) for fill in fills])


def _paged(told: list[Fill], request: Request) -> list[Fill]:
    size = params.whole(request, "page_size", 100, 100)
    descending = params.choice(request, "direction", "desc", DIRECTIONS) == "desc"
    low, high = _fill_window(request)
    fills = [fill for fill in told if low < fill.at < high]
    if descending:
        fills.reverse()
    token = request.query_params.get("page_token")
    if token:
        at = next((i for i, fill in enumerate(fills) if fill.id == token), None)
        if at is None:
            raise invalid_request("page_token is invalid")
        fills = fills[at + 1 :]
    return fills[:size]


def _fill_window(request: Request) -> tuple[int, int]:
    low, high = params.moment(request, "after"), params.moment(request, "until")
    if request.query_params.get("date"):
        day = params.day(request, "date", date.min)
        low = _epoch(day) * SECOND - 1
        high = _epoch(day + timedelta(days=1)) * SECOND
    return (-1 if low is None else low), (2**62 if high is None else high)
