"""Alpaca's corporate actions API: what companies announced, by the day it takes effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.api import params
from src.services.twin.api.render import Json
from src.services.twin.domain.company import ActionType, CorporateAction
from src.services.twin.domain.errors import invalid_request
from src.services.twin.domain.moments import new_york_day
from src.services.twin.domain.venue import Venue
from src.services.twin.use_cases import Twin

PAGE = 1_000
DEFAULT_PAGE = 100
_CUSIP = "000000000"


def company_routes(twin: Twin) -> APIRouter:
    """Return /v1/corporate-actions."""
    router = APIRouter(prefix="/v1")

    @router.get("/corporate-actions")
    async def actions(request: Request) -> Response:
        return Json(_page(twin.catch_up(), request))

    return router


def _page(venue: Venue, request: Request) -> dict[str, Any]:
    found = _asked_for(venue, request)
    token = request.query_params.get("page_token")
    if token:
        at = next((i for i, action in enumerate(found) if action.id == token), None)
        if at is None:
            raise invalid_request("page_token is invalid")
        found = found[at + 1 :]
    limit = params.whole(request, "limit", DEFAULT_PAGE, PAGE)
    grouped: dict[str, list[dict[str, Any]]] = {}
    for action in found[:limit]:
        grouped.setdefault(f"{action.terms.type.value}s", []).append(_row(action))
    more = found[limit - 1].id if len(found) > limit else None
    return {"corporate_actions": grouped, "next_page_token": more}


def _asked_for(venue: Venue, request: Request) -> list[CorporateAction]:
    today = new_york_day(venue.now)
    first, last = params.day(request, "start", today), params.day(request, "end", today + timedelta(days=1))
    if last < first:
        raise invalid_request("end should not be before start")
    symbols, types = set(params.words(request, "symbols")), set(params.words(request, "types"))
    found = [
        action
        for action in venue.actions.values()
        if action.announced_at <= venue.now
        and first <= action.terms.ex_date <= last
        and (not symbols or symbols & {action.terms.symbol, action.terms.new_symbol})
        and (not types or action.terms.type.value in types)
    ]
    return sorted(found, key=lambda action: (action.terms.ex_date, action.seq))


def _row(action: CorporateAction) -> dict[str, Any]:
    terms = action.terms
    day = terms.ex_date.isoformat()
    row: dict[str, Any] = {"id": action.id, "process_date": day}
    if terms.type is ActionType.NAME_CHANGE:
        named = {"old_symbol": terms.symbol, "new_symbol": terms.new_symbol}
        return row | named | {"old_cusip": _CUSIP, "new_cusip": _CUSIP}
    if terms.type is ActionType.CASH_MERGER:
        taken = {"acquiree_symbol": terms.symbol, "acquiree_cusip": _CUSIP, "rate": float(terms.rate)}
        return row | taken | {"effective_date": day, "payable_date": day}
    row |= {"symbol": terms.symbol, "cusip": _CUSIP}
    if terms.type is ActionType.WORTHLESS_REMOVAL:
        return row
    row |= {"ex_date": day, "record_date": day, "payable_date": day}
    if terms.type is ActionType.CASH_DIVIDEND:
        return row | {"rate": float(terms.rate), "special": False, "foreign": False}
    row |= {"old_rate": float(terms.old_rate), "new_rate": float(terms.new_rate)}
    return row | {"old_cusip": _CUSIP, "new_cusip": _CUSIP} if terms.type is ActionType.REVERSE_SPLIT else row
