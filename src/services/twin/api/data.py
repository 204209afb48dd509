"""Alpaca's market data API for stocks: finished bars, and the latest quote, trade and bar."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.api import params
from src.services.twin.api.render import Json
from src.services.twin.domain.errors import invalid_request
from src.services.twin.domain.market import TIMEFRAMES
from src.services.twin.domain.moments import NEW_YORK, iso_utc, to_datetime, to_micros
from src.services.twin.domain.venue import Venue
from src.services.twin.use_cases import Twin

PAGE = 10_000
DEFAULT_PAGE = 1_000
ADJUSTMENTS = ("raw", "split", "dividend", "all")
_ALIASES = {"60Min": "1Hour", "30T": "30Min", "60T": "1Hour", "1H": "1Hour", "1D": "1Day"}


def data_routes(twin: Twin) -> APIRouter:
    """Return the routes under /v2/stocks."""
    router = APIRouter(prefix="/v2/stocks")

    @router.get("/bars")
    async def bars(request: Request) -> Response:
        return Json(_page_of_bars(twin.catch_up(), request))

    @router.get("/{kind}/latest")
    async def latest(kind: str, request: Request) -> Response:
        makers = {"bars": _last_bar, "quotes": _quote, "trades": _trade}
        if kind not in makers:
            raise invalid_request(f"no latest {kind}: ask for bars, quotes or trades")
        found = {symbol: makers[kind](twin.catch_up(), symbol) for symbol in _known(twin.venue, request)}
        return Json({kind: {symbol: row for symbol, row in found.items() if row}})

    @router.get("/snapshots")
    async def snapshots(request: Request) -> Response:
        venue = twin.catch_up()
        return Json({symbol: _snapshot(venue, symbol) for symbol in _known(venue, request)})

    return router


def _known(venue: Venue, request: Request) -> list[str]:
    symbols = params.words(request, "symbols")
    if not symbols:
        raise invalid_request("symbols is required")
    return sorted({symbol for symbol in symbols if symbol in venue.rules})


def _page_of_bars(venue: Venue, request: Request) -> dict[str, Any]:
    limit = params.whole(request, "limit", DEFAULT_PAGE, PAGE)
    pages: dict[str, list[dict[str, Any]]] = {}
    last = ""
    left = limit
    for symbol, rows in _bars_from_token(venue, request):
        if rows and not left:
            return {"bars": pages, "next_page_token": last, "currency": "USD"}
        if rows:
            pages[symbol] = rows[:left]
            last = _make_token(symbol, pages[symbol][-1]["t"])
        if len(rows) > left:
            return {"bars": pages, "next_page_token": last, "currency": "USD"}
        left -= len(rows)
    return {"bars": pages, "next_page_token": None, "currency": "USD"}


def _bars_from_token(venue: Venue, request: Request) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    timeframe = _timeframe(request)
    # A dividend moves no price here, so that only splits are there to adjust for.
    adjusted = params.choice(request, "adjustment", "raw", ADJUSTMENTS) in ("split", "all")
    start, end = _window(venue, request)
    newest_first = params.choice(request, "sort", "asc", ("asc", "desc")) == "desc"
    token_symbol, token_time = _token(request)
    for symbol in _known(venue, request):
        if symbol < token_symbol:
            continue
        rows = venue.market.series(symbol, timeframe, adjusted=adjusted).window(start, end, venue.now)
        if newest_first:
            rows = rows[::-1]
        if symbol == token_symbol:
            rows = [row for row in rows if (row["t"] < token_time if newest_first else row["t"] > token_time)]
        yield symbol, rows


def _timeframe(request: Request) -> str:
    asked = request.query_params.get("timeframe", "")
    timeframe = _ALIASES.get(asked, asked)
    if timeframe not in TIMEFRAMES:
        raise invalid_request(f"invalid timeframe {asked!r}: the twin serves {', '.join(TIMEFRAMES)}")
    return timeframe


def _window(venue: Venue, request: Request) -> tuple[int, int]:
    today = to_datetime(venue.now).astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = params.moment(request, "start"), params.moment(request, "end")
    start = to_micros(today) if start is None else start
    end = venue.now if end is None else end
    if end < start:
        raise invalid_request("end should not be before start")
    return start, end


def _make_token(symbol: str, time: str) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{time}".encode()).decode()


def _token(request: Request) -> tuple[str, str]:
    text = request.query_params.get("page_token")
    if not text:
        return "", ""
    try:
        symbol, _, time = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise invalid_request("page_token is invalid") from exc
    return symbol, time


def _last_bar(venue: Venue, symbol: str, timeframe: str = "30Min", back: int = 1) -> dict[str, Any] | None:
    series = venue.market.series(symbol, timeframe)
    finished = series.finished(venue.now)
    return series.rows[finished - back] if finished >= back else None


def _quote(venue: Venue, symbol: str) -> dict[str, Any] | None:
    quote = venue.quote(symbol)
    if quote is None:
        return None
    bid, ask = quote
    sizes = {"as": 10, "bs": 10, "ax": "V", "bx": "V", "c": ["R"], "z": "A"}
    return {"t": iso_utc(venue.now), "ap": float(ask), "bp": float(bid), **sizes}


def _trade(venue: Venue, symbol: str) -> dict[str, Any] | None:
    price = venue.price(symbol)
    if price is None:
        return None
    return {"t": iso_utc(venue.now), "x": "V", "p": float(price), "s": 100, "i": 1, "c": ["@"], "z": "A"}


def _snapshot(venue: Venue, symbol: str) -> dict[str, Any] | None:
    if venue.price(symbol) is None:
        return None
    return {
        "latestTrade": _trade(venue, symbol),
        "latestQuote": _quote(venue, symbol),
        "minuteBar": _last_bar(venue, symbol),
        "dailyBar": _last_bar(venue, symbol, "1Day"),
        "prevDailyBar": _last_bar(venue, symbol, "1Day", back=2),
    }
