"""Polygon.io's REST API for stocks: aggregates, tickers, splits, dividends, the market's status."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.api.render import Json, asset_id
from src.services.twin.api.vendors import request_id
from src.services.twin.domain.aggregates import DAY, MINUTE, Aggregate, days, half_hours, hours
from src.services.twin.domain.company import ActionType, CorporateAction
from src.services.twin.domain.errors import PolygonRefusal
from src.services.twin.domain.moments import NEW_YORK, SECOND, iso_new_york, new_york_day, to_datetime, to_micros
from src.services.twin.domain.venue import Venue
from src.services.twin.use_cases import Twin

Rows = list[dict[str, Any]]
Make = Callable[..., list[Aggregate]]

MOST_BASE_AGGREGATES, USUAL_BASE_AGGREGATES = 50_000, 5_000
MOST_ROWS = 1_000
_MILLISECOND = SECOND // 1000
_RANGES = ("gt", "gte", "lt", "lte")
_DISPLACED = (ActionType.NAME_CHANGE, ActionType.CASH_MERGER, ActionType.WORTHLESS_REMOVAL)
_UPCOMING_DAYS = 366
_USUAL_CLOSE_HOUR = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """A width of bars: how they are made, how many base aggregates (minutes or days) one is made of."""

    make: Make
    base: int


# The market knows half hours: a finer bar is such a half hour, at its first minute.
FRAMES = {("minute", minutes): Frame(half_hours, 30) for minutes in (1, 5, 10, 15, 30)}
FRAMES |= {("hour", 1): Frame(hours, 60), ("day", 1): Frame(days, 1)}


def polygon_routes(twin: Twin) -> APIRouter:
    """Return the routes under /v2/aggs, /v3/reference and /v1/marketstatus."""
    router = APIRouter()
    _aggregate_routes(router, twin)
    _reference_routes(router, twin)
    _status_routes(router, twin)
    return router


# Aggregates


def _aggregate_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{first}/{last}")
    async def aggregates(
        request: Request, ticker: str, multiplier: str, timespan: str, first: str, last: str
    ) -> Response:
        return Json(_page_of_bars(twin.catch_up(), request, ticker, f"{multiplier}/{timespan}", first, last))

    @router.get("/v2/aggs/ticker/{ticker}/prev")
    async def previous(request: Request, ticker: str) -> Response:
        venue = twin.catch_up()
        bars = _bars(venue, ticker, FRAMES["day", 1], 0, venue.now, _adjusted(_asked(request)))[-1:]
        return Json(_bar_answer(request, ticker, _adjusted(_asked(request)), [_named(ticker, bar) for bar in bars]))

    @router.get("/v2/aggs/grouped/locale/us/market/stocks/{day}")
    async def grouped(request: Request, day: str) -> Response:
        venue, adjusted = twin.catch_up(), _adjusted(_asked(request))
        with _as_polygon(request):
            midnight = _midnight(date.fromisoformat(day))
        rows = [
            _named(symbol, bar) | {"t": bar.end // _MILLISECOND}
            for symbol in venue.market.symbols
            for bar in _bars(venue, symbol, FRAMES["day", 1], midnight, midnight, adjusted)
        ]
        return Json(_bar_answer(request, None, adjusted, rows))


def _page_of_bars(venue: Venue, request: Request, ticker: str, width: str, first: str, last: str) -> dict[str, Any]:
    asked = _asked(request)
    with _as_polygon(request):
        multiplier, timespan = width.split("/")
        frame = FRAMES[timespan, int(multiplier)]
        start, end = window_start(first), _window_end(last)
        limit = _limit(asked, USUAL_BASE_AGGREGATES, MOST_BASE_AGGREGATES)
        newest_first = {"asc": False, "desc": True}[asked.get("sort", "asc")]
    bars = _bars(venue, ticker, frame, start, end, _adjusted(asked))
    bars = bars[::-1] if newest_first else bars
    page, rest = bars[: max(1, limit // frame.base)], bars[max(1, limit // frame.base) :]
    answer = _bar_answer(request, ticker, _adjusted(asked), [_row(bar) for bar in page])
    if rest:
        next_ms = str(rest[0].start // _MILLISECOND)
        window = (first, next_ms) if newest_first else (next_ms, last)
        path = f"/v2/aggs/ticker/{ticker}/range/{width}/{'/'.join(window)}"
        answer["next_url"] = _next_url(request, path, dict(asked))
    return answer


def _bars(venue: Venue, ticker: str, frame: Frame, start: int, end: int, adjusted: bool) -> list[Aggregate]:
    if ticker not in venue.market.symbols:
        return []
    return frame.make(venue.market, ticker, start, end, venue.now, adjusted=adjusted)


def _bar_answer(request: Request, ticker: str | None, adjusted: bool, rows: Rows) -> dict[str, Any]:
    answer: dict[str, Any] = {} if ticker is None else {"ticker": ticker}
    answer |= {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": adjusted}
    if rows:
        answer["results"] = rows
    return answer | {"status": "OK", "request_id": request_id(str(request.url)), "count": len(rows)}


def _row(bar: Aggregate) -> dict[str, Any]:
    prices = {"v": float(bar.volume), "vw": bar.average, "o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low}
    return prices | {"t": bar.start // _MILLISECOND, "n": max(1, bar.volume // 100)}


def _named(ticker: str, bar: Aggregate) -> dict[str, Any]:
    return {"T": ticker} | _row(bar)


def _adjusted(asked: QueryParams) -> bool:
    return asked.get("adjusted", "true").lower() != "false"


# Reference data


def _reference_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/v3/reference/tickers")
    async def tickers(request: Request) -> Response:
        venue, asked = twin.catch_up(), _asked(request)
        active = asked.get("active", "true").lower() != "false"
        gone = _delisted(venue)
        rows = [_ticker(venue, symbol, gone) for symbol in venue.market.symbols if (symbol not in gone) == active]
        return Json(_page_of_rows(request, rows, "ticker", 100))

    @router.get("/v3/reference/tickers/{ticker}")
    async def ticker(request: Request, ticker: str) -> Response:
        venue = twin.catch_up()
        if ticker not in venue.market.symbols:
            raise PolygonRefusal(404, "NOT_FOUND", "Ticker not found.", request_id(str(request.url)))
        row = _ticker(venue, ticker, _delisted(venue))
        return Json({"request_id": request_id(str(request.url)), "results": row, "status": "OK"})

    @router.get("/v3/reference/splits")
    async def splits(request: Request) -> Response:
        rows = [_split(action) for action in _announced(twin.catch_up()) if action.terms.type.is_split]
        return Json(_page_of_rows(request, rows, "execution_date", 10, newest_first=True))

    @router.get("/v3/reference/dividends")
    async def dividends(request: Request) -> Response:
        kept = [each for each in _announced(twin.catch_up()) if each.terms.type is ActionType.CASH_DIVIDEND]
        return Json(
            _page_of_rows(request, [_dividend(each) for each in kept], "ex_dividend_date", 10, newest_first=True)
        )


def _announced(venue: Venue) -> list[CorporateAction]:
    return [action for action in venue.actions.values() if action.announced_at <= venue.now]


def _delisted(venue: Venue) -> dict[str, date]:
    """Symbols that are traded no longer, each with its last day."""
    return {
        action.terms.symbol: action.terms.ex_date
        for action in venue.actions.values()
        if action.applied_at is not None and action.terms.type in _DISPLACED
    }


def _ticker(venue: Venue, symbol: str, gone: dict[str, date]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ticker": symbol,
        "name": venue.market.names.get(symbol, symbol),
        "market": "stocks",
        "locale": "us",
        "primary_exchange": "XNYS",
        "type": "CS",
        "active": symbol not in gone,
        "currency_name": "usd",
        "composite_figi": f"BBG{asset_id(symbol)[:9].upper()}",
        "last_updated_utc": f"{new_york_day(venue.now)}T00:00:00Z",
    }
    return row if symbol not in gone else row | {"delisted_utc": f"{gone[symbol]}T00:00:00Z"}


def _split(action: CorporateAction) -> dict[str, Any]:
    terms = action.terms
    return {
        "id": request_id(action.id),
        "execution_date": terms.ex_date.isoformat(),
        "split_from": _number(float(terms.old_rate)),
        "split_to": _number(float(terms.new_rate)),
        "ticker": terms.symbol,
    }


def _dividend(action: CorporateAction) -> dict[str, Any]:
    day = action.terms.ex_date.isoformat()
    return {
        "id": request_id(action.id),
        "cash_amount": float(action.terms.rate),
        "currency": "USD",
        "declaration_date": new_york_day(action.announced_at).isoformat(),
        "dividend_type": "CD",
        "ex_dividend_date": day,
        "frequency": 4,
        "pay_date": day,
        "record_date": day,
        "ticker": action.terms.symbol,
    }


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _page_of_rows(
    request: Request, rows: Rows, order_by: str, usual: int, *, newest_first: bool = False
) -> dict[str, Any]:
    asked = _asked(request)
    with _as_polygon(request):
        limit, begin = _limit(asked, usual, MOST_ROWS), int(asked.get("page_marker", "0"))
        usually = "desc" if newest_first else "asc"
        backwards = {"asc": False, "desc": True}[asked.get("order", usually)]
    found = [row for row in rows if _is_asked_for(row, asked)]
    found.sort(key=lambda row: (row[asked.get("sort", order_by)], row["ticker"]), reverse=backwards)
    page = found[begin : begin + limit]
    answer = {"results": page, "status": "OK", "request_id": request_id(str(request.url)), "count": len(page)}
    if len(found) > begin + limit:
        marked = dict(asked) | {"page_marker": str(begin + limit)}
        answer["next_url"] = _next_url(request, request.url.path, marked)
    return answer


def _is_asked_for(row: dict[str, Any], asked: QueryParams) -> bool:
    compare: dict[str, Callable[[str, str], bool]] = {
        "": str.__eq__,
        "gt": str.__gt__,
        "gte": str.__ge__,
        "lt": str.__lt__,
        "lte": str.__le__,
    }
    for name, wanted in asked.items():
        field, _, how = name.partition(".")
        if (
            field in row
            and isinstance(row[field], str)
            and not compare[how if how in _RANGES else ""](row[field], wanted)
        ):
            return False
    return True


# The market's status


def _status_routes(router: APIRouter, twin: Twin) -> None:
    @router.get("/v1/marketstatus/now")
    async def now() -> Response:
        return Json(_status(twin.catch_up()))

    @router.get("/v1/marketstatus/upcoming")
    async def upcoming() -> Response:
        return Json(_upcoming(twin.catch_up()))


def _status(venue: Venue) -> dict[str, Any]:
    local = to_datetime(venue.now).astimezone(NEW_YORK)
    is_open = venue.sessions.open_at(venue.now) is not None
    today = venue.sessions.between(local.date(), local.date())
    early = bool(today) and local.hour >= 4 and venue.now < today[0].open
    late = bool(today) and local.hour < 20 and venue.now >= today[0].close
    word = "open" if is_open else "extended-hours" if early or late else "closed"
    return {
        "afterHours": late,
        "currencies": {"crypto": "open", "fx": "open" if local.weekday() < 5 else "closed"},
        "earlyHours": early,
        "exchanges": {"nasdaq": word, "nyse": word, "otc": word},
        "market": word,
        "serverTime": iso_new_york(venue.now - venue.now % SECOND),
    }


def _upcoming(venue: Venue) -> Rows:
    today = new_york_day(venue.now)
    last = date.fromordinal(today.toordinal() + _UPCOMING_DAYS)
    sessions = {each.day: each for each in venue.sessions.between(today, last)}
    rows: Rows = []
    for number in range(today.toordinal(), last.toordinal()):
        day = date.fromordinal(number)
        session = sessions.get(day)
        if session is None and day.weekday() < 5:
            rows += [
                {"date": str(day), "exchange": e, "name": "Holiday", "status": "closed"} for e in ("NYSE", "NASDAQ")
            ]
        elif session and to_datetime(session.close).astimezone(NEW_YORK).hour < _USUAL_CLOSE_HOUR:
            times = {"open": _utc(session.open), "close": _utc(session.close)}
            row = {"date": str(day), "name": "Early close", "status": "early-close"} | times
            rows += [row | {"exchange": e} for e in ("NYSE", "NASDAQ")]
    return rows


def _utc(micros: int) -> str:
    return f"{to_datetime(micros):%Y-%m-%dT%H:%M:%S}.000Z"


# Requests and pages


@contextmanager
def _as_polygon(request: Request) -> Iterator[None]:
    """Refuse what can't be read the way Polygon.io does."""
    try:
        yield
    except (ValueError, KeyError) as exc:
        message = f"the request can't be read: {request.url.path} ({exc})"
        raise PolygonRefusal(400, "ERROR", message, request_id(str(request.url))) from exc


def _asked(request: Request) -> QueryParams:
    """Return what is asked for; a cursor holds what the first request of the list said."""
    cursor = request.query_params.get("cursor")
    if cursor is None:
        return request.query_params
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        message = "the cursor can't be read"
        raise PolygonRefusal(400, "ERROR", message, request_id(str(request.url))) from exc
    return QueryParams(parse_qsl(text))


def _next_url(request: Request, path: str, asked: dict[str, str]) -> str:
    cursor = base64.urlsafe_b64encode(urlencode(asked).encode()).decode().rstrip("=")
    return f"{str(request.base_url).rstrip('/')}{path}?cursor={cursor}"


def _limit(asked: QueryParams, usual: int, most: int) -> int:
    limit = int(asked.get("limit", usual))
    if not 1 <= limit <= most:
        raise ValueError(f"limit must be between 1 and {most}")
    return limit


def window_start(text: str) -> int:
    """Read the begin of a window: milliseconds, or a day of New York; return microseconds.

    Raises:
        ValueError: it is neither.
    """
    return int(text) * _MILLISECOND if text.isdecimal() else _midnight(date.fromisoformat(text))


def _window_end(text: str) -> int:
    return window_start(text) if text.isdecimal() else window_start(text) + DAY - MINUTE


def _midnight(day: date) -> int:
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK))
