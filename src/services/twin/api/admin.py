"""The steering wheel for tests and demonstrations: clock, rules, faults, settings, companies, state. No keys."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.api import render
from src.services.twin.api.gate import Limits
from src.services.twin.api.render import Json
from src.services.twin.domain.announcements import Announcement
from src.services.twin.domain.errors import ActionRefused, ClockRefused, FaultInvalid
from src.services.twin.domain.fault_book import Armed
from src.services.twin.domain.faults import parse_rules
from src.services.twin.domain.moments import iso_utc, to_micros
from src.services.twin.domain.rules import SymbolRules
from src.services.twin.use_cases import Twin


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClockBody(_Body):
    """POST /admin/clock. Without `now` the clock goes on from where it stands."""

    now: AwareDatetime | None = None
    rate: float = Field(0.0, ge=0.0, le=100_000.0, allow_inf_nan=False)
    mode: Literal["steered", "wall"] = "steered"
    reset: bool = False


class RulesBody(_Body):
    """POST /admin/rules: what is named changes, the rest stays; `reset` puts the defaults back first."""

    symbol: str | None = None
    reset: bool = False
    shortable: bool | None = None
    easy_to_borrow: bool | None = None
    tradable: bool | None = None
    halted: bool | None = None
    no_fill: bool | None = None
    reject_side: Literal["buy", "sell"] | None = None
    reject_code: int | None = Field(None, ge=40_000_000, le=59_999_999)
    reject_message: str | None = None
    reject_async: bool | None = None


class SettingsBody(_Body):
    """POST /admin/settings: what is named changes."""

    requests_per_minute: int | None = Field(None, ge=0)
    polygon_requests_per_minute: int | None = Field(None, ge=0)
    latency_ms: float | None = Field(None, ge=0.0, le=60_000.0, allow_inf_nan=False)
    partial_fill_probability: float | None = Field(None, ge=0.0, le=1.0, allow_inf_nan=False)
    half_spread_bps: float | None = Field(None, ge=0.0, le=500.0, allow_inf_nan=False)


class CashBody(_Body):
    """POST /admin/cash: dollars paid in, or out where they are negative."""

    amount: Decimal = Field(ge=-1_000_000_000, le=1_000_000_000, decimal_places=2)


def admin_routes(twin: Twin, limits: Limits) -> APIRouter:
    """Return /health and the routes under /admin."""
    router = APIRouter()
    _clock_routes(router, twin)
    _rule_routes(router, twin)
    _fault_routes(router, twin)
    _settings_routes(router, twin, limits)
    _state_routes(router, twin)
    _company_routes(router, twin)
    return router


def _clock_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/admin/clock")
    async def clock() -> Response:
        return Json(_clock(twin))

    @router.post("/admin/clock")
    async def steer(body: ClockBody) -> Response:
        try:
            if body.mode == "wall":
                twin.follow_wall()
            else:
                twin.steer_clock(to_micros(body.now) if body.now else None, body.rate, reset=body.reset)
        except ClockRefused as refusal:
            return Json({"message": str(refusal)}, status_code=409)
        return Json(_clock(twin))


def _clock(twin: Twin) -> dict[str, Any]:
    venue = twin.catch_up()
    setting = twin.clock.setting
    return {
        "now": iso_utc(venue.now),
        "rate": 1.0 if setting.moment is None else setting.rate,
        "mode": setting.mode,
        "is_open": venue.sessions.open_at(venue.now) is not None,
        "next_open": iso_utc(venue.sessions.next_open(venue.now).open),
        "next_close": iso_utc(venue.sessions.next_close(venue.now).close),
    }


def _rule_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/admin/rules")
    async def rules() -> Response:
        return Json(_rules(twin))

    @router.post("/admin/rules")
    async def change(body: RulesBody) -> Response:
        if body.symbol is not None and body.symbol not in twin.venue.rules:
            return Json({"message": f"unknown symbol {body.symbol}"}, status_code=404)
        changes = body.model_dump(exclude_unset=True, exclude={"symbol", "reset"})
        symbols = [body.symbol] if body.symbol else list(twin.venue.rules)
        for symbol in symbols:
            base = SymbolRules() if body.reset else twin.venue.rules[symbol]
            twin.venue.rules[symbol] = base.changed(changes)
        return Json(_rules(twin))


def _rules(twin: Twin) -> dict[str, Any]:
    return {symbol: asdict(rules) for symbol, rules in twin.venue.rules.items()}


def _fault_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/admin/faults")
    async def faults() -> Response:
        return Json([_fault(armed) for armed in twin.faults.armed])

    @router.post("/admin/faults")
    async def arm(request: Request) -> Response:
        try:
            body = orjson.loads(await request.body())
            rules = parse_rules(body if isinstance(body, list) else [body])
            return Json({"ids": twin.arm(rules, "api")})
        except orjson.JSONDecodeError as exc:
            return Json({"message": f"the body is no JSON: {exc}"}, status_code=422)
        except FaultInvalid as exc:
            return Json({"message": str(exc)}, status_code=422)

    @router.delete("/admin/faults")
    async def clear() -> Response:
        twin.faults.clear()
        return Json([])

    @router.delete("/admin/faults/{number}")
    async def disarm(number: int) -> Response:
        if not twin.faults.disarm(number):
            return Json({"message": f"no rule {number} is in force"}, status_code=404)
        return Json([_fault(armed) for armed in twin.faults.armed])


def _fault(armed: Armed) -> dict[str, Any]:
    return {
        "id": armed.id,
        "source": armed.source,
        "matched": armed.matched,
        "fired": armed.fired,
        "rule": armed.rule.model_dump(mode="json", exclude_unset=True),
    }


def _settings_routes(router: APIRouter, twin: Twin, limits: Limits) -> None:
    @router.get("/admin/settings")
    async def settings() -> Response:
        return Json(_settings(twin, limits))

    @router.post("/admin/settings")
    async def change(body: SettingsBody) -> Response:
        for name, value in body.model_dump(exclude_none=True).items():
            setattr(twin.venue.terms if hasattr(twin.venue.terms, name) else limits, name, value)
        return Json(_settings(twin, limits))


def _settings(twin: Twin, limits: Limits) -> dict[str, Any]:
    return {
        "requests_per_minute": limits.requests_per_minute,
        "polygon_requests_per_minute": limits.polygon_requests_per_minute,
        "latency_ms": limits.latency_ms,
        "partial_fill_probability": twin.venue.terms.partial_fill_probability,
        "half_spread_bps": twin.venue.terms.half_spread_bps,
    }


def _company_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/admin/corporate-actions")
    async def actions() -> Response:
        return Json([render.scripted_json(action) for action in twin.catch_up().actions.values()])

    @router.post("/admin/corporate-actions")
    async def schedule(body: Announcement) -> Response:
        try:
            action = twin.schedule(body.terms, body.told_from)
        except ActionRefused as refusal:
            return Json({"message": str(refusal)}, status_code=409)
        return Json(render.scripted_json(action))

    @router.post("/admin/cash")
    async def cash(body: CashBody) -> Response:
        try:
            activity = twin.move_cash(body.amount)
        except ActionRefused as refusal:
            return Json({"message": str(refusal)}, status_code=409)
        return Json(render.activity_json(activity))


def _state_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/health")
    async def health() -> Response:
        return Json({"status": "ok", "now": iso_utc(twin.catch_up().now), "symbols": len(twin.venue.rules)})

    @router.post("/admin/reset")
    async def reset() -> Response:
        twin.reset()
        return Json(_state(twin))

    @router.get("/admin/state")
    async def state() -> Response:
        twin.catch_up()
        return Json(_state(twin))

    @router.get("/admin/market")
    async def market() -> Response:
        first, last = twin.venue.market.span
        return Json(
            {
                "source": twin.venue.market.source,
                "symbols": twin.venue.market.symbols,
                "pairs": twin.venue.market.truth,
                "first": iso_utc(first),
                "last": iso_utc(last),
            }
        )


def _state(twin: Twin) -> dict[str, Any]:
    venue = twin.venue
    worth = venue.valuation()
    return {
        "now": iso_utc(venue.now),
        "seed": venue.seed,
        "order_posts": twin.order_posts,
        "counts": {
            "orders": len(venue.orders),
            "open_orders": len(venue.open_orders),
            "fills": len(venue.fills),
            "positions": len(venue.book.positions),
        },
        "opening_cash": _exact(venue.opening_cash),
        "cash": _exact(worth.cash),
        "equity": _exact(worth.equity),
        "orders": [render.order_json(order) for order in venue.orders.values()],
        "fills": [render.fill_json(fill) | {"client_order_id": fill.client_order_id} for fill in venue.fills],
        "positions": [render.position_json(venue, p) for _, p in sorted(venue.book.positions.items())],
    }


def _exact(value: Decimal) -> str:
    return render.plain(value) or "0"
