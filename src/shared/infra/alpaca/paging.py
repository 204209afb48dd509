"""Reading lists that come in pages: all of it or an error, never a part that looks whole, never for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from src.shared.domain.errors import Transient
from src.shared.infra.alpaca import parsing
from src.shared.infra.alpaca.parsing import Raw, Unreadable

ORDERS_PER_PAGE = 500
FILLS_PER_PAGE = 100
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


def fill_pages(read: Read, after: datetime) -> Iterator[list[Any]]:
    """Yield pages of fill activities after a moment, oldest first."""
    asked: dict[str, Any] = {"after": after.isoformat(), "direction": "asc", "page_size": FILLS_PER_PAGE}
    seen: set[str] = set()
    while True:
        page = _as_page(read(asked), "fills")
        ids = _ids(page)
        if ids & seen:
            raise Transient("Alpaca's list of fills repeats itself; it can't be read to its end")
        yield page
        if len(page) < FILLS_PER_PAGE:
            return
        seen |= ids
        asked["page_token"] = _last_id(page)


def bar_pages(read: Read, params: Raw) -> Iterator[dict[str, Any]]:
    """Yield pages of bars as symbol → rows. `limit` counts the rows of all symbols, so only the last page ends it."""
    asked = {**params, "limit": BARS_PER_PAGE}
    seen: set[str] = set()
    while True:
        answer = read(asked)
        if not isinstance(answer, dict) or "bars" not in answer or not isinstance(answer["bars"], dict | None):
            raise Transient("Alpaca's bars can't be read: no object 'bars' in the answer")
        yield answer["bars"] or {}
        token = answer.get("next_page_token")
        if not token:
            return
        if not isinstance(token, str) or token in seen:
            raise Transient("Alpaca's pages of bars repeat; they can't be read to their end")
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
        raise Transient("Alpaca's fills can't be read: the last one of a page has no id to go on from")
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
