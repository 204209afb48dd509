"""Yahoo's chart: bars, what was paid and split, and a word on the market's hours.

Prices are as Yahoo gives them: on today's basis of shares, not adjusted for dividends; `adjclose` is adjusted for
both. Hours count from the open, the last one is the half hour before the close.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from src.services.twin.api.render import Json
from src.services.twin.api.vendors import yahoo_error
from src.services.twin.domain.company import ActionType, CorporateAction
from src.services.twin.domain.market import SESSION_HOUR, Series
from src.services.twin.domain.moments import NEW_YORK, SECOND, new_york_day, to_datetime
from src.services.twin.domain.venue import Venue

HOURLY_DAYS = 730
_INTERVALS = {"1h": SESSION_HOUR, "60m": SESSION_HOUR, "30m": "30Min", "15m": "30Min", "1d": "1Day"}
_RANGES = {"1d": 1, "5d": 7, "1mo": 31, "3mo": 92, "6mo": 183, "1y": 366, "2y": 731, "5y": 1827, "10y": 3653}
_DAY = 86_400 * SECOND


def chart(venue: Venue, symbol: str, request: Request) -> Response:
    """Answer GET /v8/finance/chart/{symbol}."""
    if symbol not in venue.rules:
        return _no(404, "Not Found", "No data found, symbol may be delisted")
    interval = request.query_params.get("interval", "1d")
    if interval not in _INTERVALS:
        text = f"Invalid input - interval={interval} is not supported. Valid intervals: [{', '.join(_INTERVALS)}]"
        return _no(422, "Unprocessable Entity", text)
    window = _window(venue, request)
    if window is None:
        return _no(400, "Bad Request", "Invalid input - start date cannot be after end date.")
    start, end = window
    if interval != "1d" and start < venue.now - HOURLY_DAYS * _DAY:
        return _no(422, "Unprocessable Entity", _too_long_ago(interval, start, end))
    return Json({"chart": {"result": [_result(venue, symbol, interval, start, end)], "error": None}})


def _too_long_ago(interval: str, start: int, end: int) -> str:
    return (
        f"{interval} data not available for startTime={start // SECOND} and endTime={end // SECOND}."
        f" The requested range must be within the last {HOURLY_DAYS} days."
    )


def _no(status: int, code: str, description: str) -> Response:
    return yahoo_error("chart", status, code, description)


def _window(venue: Venue, request: Request) -> tuple[int, int] | None:
    asked = request.query_params
    try:
        if "period1" in asked:
            start, end = (int(asked[name]) * SECOND for name in ("period1", "period2"))
        else:
            end = venue.now
            start = end - _RANGES.get(asked.get("range", "1d"), 36_500) * _DAY
    except (KeyError, ValueError):
        return None
    return (start, end) if start <= end else None


def _result(venue: Venue, symbol: str, interval: str, start: int, end: int) -> dict[str, Any]:
    daily = interval == "1d"
    series = venue.market.series(symbol, _INTERVALS[interval], adjusted=True)
    # A day belongs to Yahoo's window by its open, not by its midnight.
    first = start - (_DAY // 2 if daily else 0)
    near = series.places(first, end, venue.now)
    places = [i for i in near if start <= _stamp(venue, series, i, daily) < end]
    result: dict[str, Any] = {"meta": _meta(venue, symbol, interval, start)}
    if not places:
        return result | {"indicators": {"quote": [{}]}}
    rows = [series.rows[i] for i in places]
    names = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    indicators: dict[str, Any] = {"quote": [{name: [row[key] for row in rows] for name, key in names.items()}]}
    if daily:
        indicators["adjclose"] = [{"adjclose": _adjusted(venue, symbol, series, places)}]
    result["timestamp"] = [_stamp(venue, series, i, daily) // SECOND for i in places]
    events = _events(venue, symbol, start, end)
    return result | ({"events": events} if events else {}) | {"indicators": indicators}


def _stamp(venue: Venue, series: Series, place: int, daily: bool) -> int:
    # Yahoo stamps a day with its open.
    return _open_of(venue, series.start[place]) if daily else series.start[place]


def _open_of(venue: Venue, moment: int) -> int:
    day = new_york_day(moment)
    return venue.sessions.between(day, day + timedelta(days=14))[0].open


def _happened(venue: Venue, symbol: str) -> list[CorporateAction]:
    found = [each for each in venue.actions.values() if each.terms.symbol == symbol and each.applied_at is not None]
    return sorted(found, key=lambda each: (each.terms.ex_date, each.seq))


def _ex_open(venue: Venue, action: CorporateAction) -> int:
    return venue.sessions.between(action.terms.ex_date, action.terms.ex_date + timedelta(days=14))[0].open


def _dividends(venue: Venue, symbol: str) -> list[tuple[int, float]]:
    """Return (open of the ex-day, dollars on today's basis of shares), oldest first."""
    actions = _happened(venue, symbol)
    found = []
    for at, action in enumerate(actions):
        if action.terms.type is ActionType.CASH_DIVIDEND:
            amount = float(action.terms.rate)
            for later in actions[at + 1 :]:
                if later.terms.type.is_split:
                    amount *= float(later.terms.old_rate / later.terms.new_rate)
            found.append((_ex_open(venue, action), round(amount, 6)))
    return found


def _adjusted(venue: Venue, symbol: str, series: Series, places: Sequence[int]) -> list[float]:
    closes = [row["c"] for row in series.rows]
    factors: list[tuple[int, float]] = []
    for at, amount in _dividends(venue, symbol):
        before = max((i for i in range(series.finished(at)) if series.end[i] <= at), default=None)
        if before is not None:
            factors.append((at, 1 - amount / closes[before]))
    adjusted = []
    for place in places:
        price = closes[place]
        for at, factor in factors:
            if series.end[place] <= at:
                price *= factor
        adjusted.append(round(price, 6))
    return adjusted


def _events(venue: Venue, symbol: str, start: int, end: int) -> dict[str, Any]:
    dividends = {
        str(at // SECOND): {"amount": amount, "date": at // SECOND}
        for at, amount in _dividends(venue, symbol)
        if start <= at < end
    }
    splits = {}
    for action in _happened(venue, symbol):
        at, terms = _ex_open(venue, action), action.terms
        if terms.type.is_split and start <= at < end:
            new, old = float(terms.new_rate), float(terms.old_rate)
            row = {"date": at // SECOND, "numerator": new, "denominator": old, "splitRatio": f"{new:g}:{old:g}"}
            splits[str(at // SECOND)] = row
    return {name: found for name, found in (("dividends", dividends), ("splits", splits)) if found}


def _meta(venue: Venue, symbol: str, interval: str, start: int) -> dict[str, Any]:
    first, _ = venue.market.symbol_span(symbol)
    offset = to_datetime(venue.now).astimezone(NEW_YORK).utcoffset() or timedelta(0)
    zone = {
        "timezone": "EST" if offset.total_seconds() == -18_000 else "EDT",
        "gmtoffset": int(offset.total_seconds()),
    }
    today = new_york_day(venue.now)
    session = venue.sessions.between(today, today + timedelta(days=14))[0]
    opened, closed = session.open // SECOND, session.close // SECOND
    meta: dict[str, Any] = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NYQ",
        "fullExchangeName": "NYSE",
        "instrumentType": "EQUITY",
        "firstTradeDate": first // SECOND,
        "regularMarketTime": venue.now // SECOND,
        "hasPrePostMarketData": True,
        **zone,
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": venue.market.price(symbol, venue.now),
        "longName": venue.market.names.get(symbol, symbol),
        "chartPreviousClose": venue.market.last_close(symbol, venue.sessions.finished_slots(start)),
        "priceHint": 2,
        "currentTradingPeriod": {
            "pre": {**zone, "start": opened - 19_800, "end": opened},
            "regular": {**zone, "start": opened, "end": closed},
            "post": {**zone, "start": closed, "end": closed + 14_400},
        },
        "dataGranularity": interval,
        "range": "",
        "validRanges": [*_RANGES, "ytd", "max"],
    }
    if interval != "1d":
        meta["tradingPeriods"] = _trading_periods(venue, start, zone)
    return meta


def _trading_periods(venue: Venue, start: int, zone: dict[str, Any]) -> list[list[dict[str, Any]]]:
    days = venue.sessions.between(new_york_day(start), new_york_day(venue.now))
    return [[{**zone, "start": day.open // SECOND, "end": day.close // SECOND}] for day in days]
