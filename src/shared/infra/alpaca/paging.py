"""Reading lists that come in pages: all of it or an error, never a part that looks whole, never for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from src.shared.domain.errors import Transient
from src.shared.infra.alpaca import parsing
from src.shared.infra.alpaca.parsing import Raw, Unreadable

ORDERS_PER_PAGE = 500
ACTIVITIES_PER_PAGE = 100
ACTIONS_PER_PAGE = 1000
BARS_PER_PAGE = 10_000

Read = Callable[[dict[str, Any]], Any]


def order_pages(read: Read, params: Raw) -> Iterator[list[Any]]:
    """Yield pages of orders, oldest first. The pages overlap: orders of one microsecond may lie on both sides."""
    asked = {**params, "limit": ORDERS_PER_PAGE, "direction": "asc"}
    seen: set[str] = set()
    while True:
        page = _as_page(read(asked), "orders")
        ids = _ids(page)
        if len(page) == ORDERS_PER_PAGE and ids <= seen:
            raise Transient("Alpaca's list of orders repeats itself; it can't be read to its end")
        yield page
        if len(page) < ORDERS_PER_PAGE:
            return
        seen |= ids
        asked["after"] = (_newest(page) - timedelta(microseconds=1)).isoformat()


def activity_pages(read: Read, after: datetime, kinds: str = "") -> Iterator[list[Any]]:
    """Yield pages of account activities after a moment, oldest first; `kinds` are words with commas between."""
    asked: dict[str, Any] = {"after": after.isoformat(), "direction": "asc", "page_size": ACTIVITIES_PER_PAGE}
    if kinds:
        asked["activity_types"] = kinds
    seen: set[str] = set()
    while True:
        page = _as_page(read(asked), "activities")
        ids = _ids(page)
        if ids & seen:
            raise Transient("Alpaca's list of activities repeats itself; it can't be read to its end")
        yield page
        if len(page) < ACTIVITIES_PER_PAGE:
            return
        seen |= ids
        asked["page_token"] = _last_id(page)


def bar_pages(read: Read, params: Raw) -> Iterator[dict[str, Any]]:
    """Yield pages of bars as symbol → rows. `limit` counts the rows of all symbols, so only the last page ends it."""
    return _token_pages(read, {**params, "limit": BARS_PER_PAGE}, "bars")


def action_pages(read: Read, params: Raw) -> Iterator[dict[str, Any]]:
    """Yield pages of corporate actions as type → rows, oldest first."""
    return _token_pages(read, {**params, "limit": ACTIONS_PER_PAGE, "sort": "asc"}, "corporate_actions")


def _token_pages(read: Read, asked: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    while True:
        answer = read(asked)
        if not isinstance(answer, dict) or name not in answer or not isinstance(answer[name], dict | None):
            raise Transient(f"Alpaca's {name} can't be read: no object {name!r} in the answer")
        yield answer[name] or {}
        token = answer.get("next_page_token")
        if not token:
            return
        if not isinstance(token, str) or token in seen:
            raise Transient(f"Alpaca's pages of {name} repeat; they can't be read to their end")
        seen.add(token)
        asked["page_token"] = token


def _as_page(answer: Any, kind: str) -> list[Any]:
    if not isinstance(answer, list):
        raise Transient(f"Alpaca's {kind} can't be read: a list was expected, not {type(answer).__name__}")
    return answer


def _ids(page: list[Any]) -> set[str]:
    return {str(item.get("id")) for item in page if isinstance(item, dict)}


def _last_id(page: list[Any]) -> str:
    last = page[-1].get("id") if isinstance(page[-1], dict) else None
    if not isinstance(last, str) or not last:
        raise Transient("Alpaca's activities can't be read: the last one of a page has no id to go on from")
    return last


def _newest(page: list[Any]) -> datetime:
    moments = [moment for item in page if (moment := _placed_at(item)) is not None]
    if not moments:
        raise Transient("Alpaca's orders can't be read: a page without a time to go on from")
    return max(moments)


def _placed_at(item: Any) -> datetime | None:
    try:
        raw = parsing.as_object(item)
        return parsing.moment(raw, "submitted_at" if raw.get("submitted_at") else "created_at")
    except Unreadable:
        return None
