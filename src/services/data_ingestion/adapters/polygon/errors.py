"""The one table that turns what the client and urllib3 raise into our kinds of failure.

================================================  ================================
what came back                                    is
================================================  ================================
400 and other 4xx with Polygon.io's JSON          Refused (its word, or the status)
401                                               Refused, names the key
403                                               Refused, names the plan
408, 429, other 4xx without JSON                  Transient
3xx, 5xx, time-outs, resets, refused connections  Transient
================================================  ================================

Only reads are made, so that repeating is harmless; nothing is ever of unknown outcome.
"""

from __future__ import annotations

import json

import urllib3

from src.services.data_ingestion.adapters.polygon.transport import Unwelcome
from src.shared.domain.errors import Refused, TradewindsError, Transient

KEY_SETTING = "TRADEWINDS_POLYGON_API_KEY"
PLAN_SETTING = "TRADEWINDS_POLYGON_HISTORY_DAYS"
_EXCERPT = 200
_TRY_AGAIN = frozenset({408, 429})


def translate(error: Exception, what: str) -> TradewindsError:
    """Say in our own terms what a failure of `what` means."""
    if isinstance(error, Unwelcome):
        return _answered(error, what)
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return Transient(f"Polygon.io, {what}: timed out.")
    if isinstance(error, urllib3.exceptions.HTTPError | OSError | UnicodeError):
        return Transient(f"Polygon.io, {what}: {type(error).__name__}: {excerpt(str(error))}.")
    raise error


def refused(what: str, word: str, said: str) -> Refused:
    """Say that the vendor does not do what was asked for, and which setting to look at."""
    hint = {
        "401": f" Check {KEY_SETTING}.",
        "403": f" Check the plan of the key, and {PLAN_SETTING}.",
        "NOT_AUTHORIZED": f" Check the plan of the key, and {PLAN_SETTING}.",
    }.get(word, "")
    return Refused(f"Polygon.io, {what}: {excerpt(said).rstrip('.')} ({word}).{hint}", word)


def excerpt(text: str) -> str:
    """Return the text in one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]}…"


def _answered(error: Unwelcome, what: str) -> TradewindsError:
    said = _said(error.body)
    readable = said is not None or error.status in {401, 403}
    if not 400 <= error.status < 500 or error.status in _TRY_AGAIN or not readable:
        line = said[1] if said else "no answer that can be read"
        return Transient(f"Polygon.io, {what}: HTTP {error.status} {excerpt(line)}")
    word, line = said or ("", f"HTTP {error.status}")
    return refused(what, word if word not in {"", "ERROR"} else str(error.status), line)


def _said(body: bytes) -> tuple[str, str] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    line = content.get("error") or content.get("message") or "no reason is given"
    return str(content.get("status", "")), str(line)
