"""Faults on the wire that only Polygon.io has: errors that look like answers, and lists that do not end well."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import URL
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from src.services.twin.api.polygon import window_start
from src.services.twin.api.render import Json
from src.services.twin.api.vendors import request_id
from src.services.twin.domain.faults import (
    BrokenPage,
    ErrorWith200,
    NoResults,
    PlanRefusal,
    PolygonAnswer,
    PolygonChange,
    RestatedBars,
    WrongCount,
)
from src.services.twin.domain.moments import SECOND, new_york_day

ELSEWHERE = "https://elsewhere.example"
_COUNTS = ("resultsCount", "count")
_PRICES = ("o", "h", "l", "c", "vw")
_PAGE = "<html><head><title>Polygon.io</title></head><body>We will be right back.</body></html>"
_UPGRADE = "Your plan doesn't include this data timeframe. Please upgrade your plan at https://polygon.io/pricing"


def asked_since(path: str) -> int | None:
    """Return the begin of the bars that a path asks for, in microseconds; None for other paths."""
    parts = path.split("/")
    if len(parts) != 10 or not path.startswith("/v2/aggs/ticker/"):
        return None
    try:
        return window_start(parts[8])
    except ValueError:
        return None


def polygon_answer(lie: PolygonAnswer) -> Response:
    """Return what is answered in the place of the vendor's answer."""
    match lie:
        case ErrorWith200():
            return Json({"status": "ERROR", "request_id": request_id(lie.message), "error": lie.message})
        case PlanRefusal():
            body = {"status": "NOT_AUTHORIZED", "request_id": request_id(_UPGRADE), "message": _UPGRADE}
            return Json(body, status_code=403)
        case _:
            raise TypeError(f"{type(lie).__name__} has no answer of its own")


def spoilt_answer(lie: PolygonChange, content: Any, scope: Scope) -> Response:
    """Return the vendor's answer as the fault leaves it."""
    if isinstance(lie, BrokenPage) and lie.form == "html":
        return HTMLResponse(_PAGE)
    if isinstance(content, dict):
        _spoil(lie, content, scope)
    return Json(content)


def _spoil(lie: PolygonChange, content: dict[str, Any], scope: Scope) -> None:
    match lie:
        case NoResults():
            content.pop("results", None)
        case WrongCount():
            content.update({name: content[name] + lie.by for name in _COUNTS if name in content})
        case BrokenPage():
            url = URL(scope=scope)
            there = f"{ELSEWHERE}{url.path}?{url.query}"
            content["next_url"] = str(url) if lie.form == "repeats" else there
        case RestatedBars():
            for row in content.get("results") or []:
                if lie.day is None or new_york_day(row["t"] * SECOND // 1000) == lie.day:
                    row.update({name: round(row[name] * lie.factor, 4) for name in _PRICES if name in row})
        case _:
            raise TypeError(f"{type(lie).__name__} changes no answer")
