"""Yahoo Finance as yfinance asks it, under /yahoo: cookie, crumb, consent, chart, quote, summary, time series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from src.services.twin.api.render import Json
from src.services.twin.api.vendors import yahoo_error
from src.services.twin.api.yahoo_chart import chart
from src.services.twin.api.yahoo_company import MODULES, quote, series
from src.services.twin.domain.faults import YAHOO_PATH
from src.services.twin.domain.venue import Venue
from src.services.twin.use_cases import Twin

_COOKIE = "A3"
_COOKIE_SECONDS = 365 * 86_400
_CONSENT = (
    '<html><body><form method="post" action="/v2/collectConsent">'
    '<input type="hidden" name="csrfToken" value="token"><input type="hidden" name="sessionId" value="session">'
    "</form></body></html>"
)


def yahoo_routes(twin: Twin) -> APIRouter:
    """Return the routes under /yahoo: what goes to https://HOST/PATH at Yahoo is /yahoo/PATH here."""
    router = APIRouter(prefix=YAHOO_PATH.rstrip("/"))
    _session_routes(router, twin)
    _data_routes(router, twin)
    return router


def crumb_of(venue: Venue) -> str:
    """Return the word that goes with the cookie."""
    return f"crumb.{venue.seed:x}"


def _session_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/")
    async def cookie() -> Response:
        # fc.yahoo.com has no page: it answers with 404 and the cookie.
        return _with_cookie(PlainTextResponse("Not Found", status_code=404))

    @router.get("/v1/test/getcrumb")
    async def crumb(request: Request) -> Response:
        if _COOKIE not in request.cookies:
            return yahoo_error("finance", 401, "Unauthorized", "Invalid Cookie")
        return PlainTextResponse(crumb_of(twin.venue))

    @router.get("/consent")
    async def consent() -> Response:
        return _with_cookie(HTMLResponse(_CONSENT))

    @router.get("/copyConsent")
    @router.post("/v2/collectConsent")
    async def consented() -> Response:
        return _with_cookie(PlainTextResponse(""))


def _data_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/v8/finance/chart/{symbol}")
    async def bars(symbol: str, request: Request) -> Response:
        return chart(twin.catch_up(), _listed(symbol), request)

    @router.get("/v10/finance/quoteSummary/{symbol}")
    async def summary(symbol: str, request: Request) -> Response:
        return _with_crumb(twin, request, lambda venue: _summary(venue, _listed(symbol), request))

    @router.get("/v7/finance/quote")
    async def quotes(request: Request) -> Response:
        return _with_crumb(twin, request, lambda venue: _quotes(venue, request))

    @router.get("/ws/fundamentals-timeseries/v1/finance/timeseries/{symbol}")
    async def timeseries(symbol: str, request: Request) -> Response:
        types = request.query_params.get("type", "").split(",")
        found = series(twin.catch_up(), _listed(symbol), types)
        return Json({"timeseries": {"result": found, "error": None}})


def _listed(symbol: str) -> str:
    """Return a symbol as the exchange lists it: Yahoo writes BRK-B."""
    return symbol.replace("-", ".")


def _with_cookie(answer: Response) -> Response:
    answer.set_cookie(_COOKIE, "d=AQABBtwin&S=AQAAAt", max_age=_COOKIE_SECONDS, path="/", httponly=True)
    return answer


def _with_crumb(twin: Twin, request: Request, answer: Callable[[Venue], Response]) -> Response:
    venue = twin.catch_up()
    if _COOKIE not in request.cookies or request.query_params.get("crumb") != crumb_of(venue):
        return yahoo_error("finance", 401, "Unauthorized", "Invalid Crumb")
    return answer(venue)


def _summary(venue: Venue, symbol: str, request: Request) -> Response:
    if symbol not in venue.rules:
        return yahoo_error("quoteSummary", 404, "Not Found", f"Quote not found for symbol: {symbol}")
    asked = [name for name in request.query_params.get("modules", "").split(",") if name]
    found: dict[str, Any] = {name: MODULES[name](venue, symbol) for name in asked if name in MODULES}
    if not found:
        return no_fundamentals(asked)
    return Json({"quoteSummary": {"result": [found], "error": None}})


def no_fundamentals(modules: list[str]) -> Response:
    """Say that there is nothing of the kind, as for a fund: Yahoo's 404 that does not mean an unknown symbol."""
    asked = ",".join(modules)
    text = f"No fundamentals data found for any of the summaryTypes={asked}"
    return yahoo_error("quoteSummary", 404, "Not Found", text)


def _quotes(venue: Venue, request: Request) -> Response:
    asked = [_listed(name) for name in request.query_params.get("symbols", "").split(",")]
    return Json(
        {"quoteResponse": {"result": [quote(venue, name) for name in asked if name in venue.rules], "error": None}}
    )
