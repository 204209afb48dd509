"""What a message of the broker's trade_updates stream is good for: it hints that something happened, no more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

STREAM = "trade_updates"
_EVENTS = frozenset(
    {
        "new",
        "fill",
        "partial_fill",
        "canceled",
        "expired",
        "done_for_day",
        "replaced",
        "accepted",
        "rejected",
        "pending_new",
        "stopped",
        "pending_cancel",
        "pending_replace",
        "calculated",
        "suspended",
        "held",
        "order_replace_rejected",
        "order_cancel_rejected",
        "restated",
        "trade_bust",
        "trade_correct",
    }
)
_CONTROL = frozenset({"authorization", "listening"})
_LONGEST_WORD = 80


@dataclass(frozen=True)
class Unread:
    """A message that could not be understood, as it came, and why. The same reason says the same words."""

    reason: str
    raw: str
    kind: str = STREAM


@dataclass(frozen=True)
class Heard:
    """What a message tells: whether it is worth a look at the broker's orders, and what of it was not understood."""

    is_hint: bool
    unread: Unread | None = None


def hear(frame: str | bytes, order_prefix: str, known_statuses: frozenset[str]) -> Heard:
    """Read one frame. Whatever can't be understood may have been about a fill of ours, so it is a hint too.

    Args:
        order_prefix: how the ids of our own orders begin.
        known_statuses: the words for an order's state that can be acted on.
    """
    raw = frame if isinstance(frame, str) else frame.decode("utf-8", "backslashreplace")
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return _unread("it is not JSON", raw)
    if not isinstance(message, dict):
        return _unread("it is not an object", raw)
    stream = message.get("stream")
    if _is_one_of(stream, _CONTROL):
        return Heard(is_hint=False)
    if stream != STREAM:
        return _unread(f"its stream {_word(stream)} is not known", raw)
    return _update(message.get("data"), raw, order_prefix, known_statuses)


def _update(data: Any, raw: str, order_prefix: str, known_statuses: frozenset[str]) -> Heard:
    data = data if isinstance(data, dict) else {}
    order = data.get("order")
    name = order.get("client_order_id") if isinstance(order, dict) else None
    if not isinstance(order, dict) or not isinstance(name, str):
        return _unread("it names no order", raw)
    event, status = data.get("event"), order.get("status")
    is_hint = name.startswith(order_prefix)
    if not _is_one_of(event, _EVENTS):
        return Heard(is_hint, Unread(f"its event {_word(event)} is not known", raw))
    if not _is_one_of(status, known_statuses):
        return Heard(is_hint, Unread(f"its order's status {_word(status)} is not known", raw))
    return Heard(is_hint)


def _is_one_of(value: Any, words: frozenset[str]) -> bool:
    return isinstance(value, str) and value in words


def _unread(reason: str, raw: str) -> Heard:
    return Heard(is_hint=True, unread=Unread(reason, raw))


def _word(value: Any) -> str:
    return repr(value)[:_LONGEST_WORD]
