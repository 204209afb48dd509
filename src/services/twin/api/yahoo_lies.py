"""Yahoo's own ways to fail: refusals in its words, charts and numbers that don't hold what they promise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from src.services.twin.api.vendors import YAHOO, yahoo_error
from src.services.twin.api.yahoo import no_fundamentals
from src.services.twin.domain.faults import (
    InvalidCrumb,
    MissingModules,
    OddChart,
    OddNumbers,
    YahooAnswer,
    YahooChange,
)

_ODD: dict[str, Any] = {
    "infinity": float("inf"),
    "infinity_text": "Infinity",
    "nan": float("nan"),
    "not_available": "N/A",
    "percent_text": "12.3%",
    "words": "see note 4",
}


def yahoo_answer(lie: YahooAnswer) -> Response:
    """Refuse as Yahoo does: its edge has had enough, or the crumb is of yesterday."""
    if isinstance(lie, InvalidCrumb):
        return yahoo_error("finance", 401, "Unauthorized", "Invalid Crumb")
    return YAHOO.failed(429, "")


def odd_answer(lie: YahooChange, answer: Response, content: Any) -> Response:
    """Spoil an answer; one that is a refusal stays as it is."""
    if answer.status_code != 200:
        return answer
    match lie:
        case OddChart():
            _CHARTS[lie.form](content["chart"]["result"][0])
        case OddNumbers():
            _put_numbers(content, set(lie.names), _ODD[lie.form])
        case MissingModules():
            modules = content["quoteSummary"]["result"][0]
            asked = list(modules)
            for name in lie.without or asked:
                modules.pop(name, None)
            if not modules:
                return no_fundamentals(asked)
    return _rewritten(answer, content)


def _rewritten(answer: Response, content: Any) -> Response:
    # Python's own writer: Yahoo does send NaN and Infinity, which are no JSON.
    body = json.dumps(content).encode()
    changed = Response(body, status_code=answer.status_code)
    kept = [pair for pair in Headers(raw=answer.raw_headers).raw if pair[0].lower() != b"content-length"]
    changed.raw_headers = [*kept, (b"content-length", str(len(body)).encode())]
    return changed


def _put_numbers(content: Any, names: set[str], odd: Any) -> None:
    if isinstance(content, list):
        for each in content:
            _put_numbers(each, names, odd)
    elif isinstance(content, dict):
        for name, value in content.items():
            if name in names and not isinstance(value, dict | list):
                content[name] = odd
            else:
                _put_numbers(value, names, odd)


def _columns(chart: dict[str, Any]) -> list[list[Any]]:
    groups = [*chart["indicators"]["quote"], *chart["indicators"].get("adjclose", [])]
    return [column for group in groups for column in group.values()]


def _null(chart: dict[str, Any], places: list[int]) -> None:
    for column in _columns(chart):
        for place in places:
            column[place] = None


def _null_rows(chart: dict[str, Any]) -> None:
    _null(chart, list(range(2, len(chart.get("timestamp", [])), 3)))


def _dividend_nulls(chart: dict[str, Any]) -> None:
    paid = {row["date"] for row in chart.get("events", {}).get("dividends", {}).values()}
    _null(chart, [place for place, at in enumerate(chart.get("timestamp", [])) if at in paid])


def _no_timestamps(chart: dict[str, Any]) -> None:
    chart.pop("timestamp", None)


def _other_length(chart: dict[str, Any]) -> None:
    for group in chart["indicators"]["quote"]:
        group.get("close", [])[-1:] = []


def _unfinished(chart: dict[str, Any]) -> None:
    if chart.get("timestamp"):
        chart["timestamp"].append(chart["meta"]["regularMarketTime"])
        for column in _columns(chart):
            column.append(column[-1])


def _empty(chart: dict[str, Any]) -> None:
    _no_timestamps(chart)
    chart["indicators"] = {"quote": [{}]}


_CHARTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "null_rows": _null_rows,
    "no_timestamps": _no_timestamps,
    "other_length": _other_length,
    "unfinished": _unfinished,
    "dividend_nulls": _dividend_nulls,
    "empty": _empty,
}
