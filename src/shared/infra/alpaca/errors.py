"""The one table that turns what alpaca-py and requests raise into our three kinds of failure.

==========================  =====================  ====================  ==============================
what came back              placing an order       cancelling            reading
==========================  =====================  ====================  ==============================
4xx with a numeric code     Refused (the code)     Refused (the code)    Refused (the code)
422, id must be unique      DuplicateOrderId       Refused               Refused
401/403 JSON without code   Refused (the status)   Refused (the status)  Refused, names the settings
401/403 HTML                OutcomeUnknown         OutcomeUnknown        Refused, names the settings
408, 429                    OutcomeUnknown         OutcomeUnknown        Transient
anything else               OutcomeUnknown         OutcomeUnknown        Transient
==========================  =====================  ====================  ==============================

"Anything else" is time-outs, resets, 3xx, 5xx, other HTML, empty and unreadable answers, and whatever the SDK trips
over in them (TypeError, KeyError, ValueError). A refused connection is there too: nothing was sent, but the life
cycle of an intent has no way back from SENDING other than by look-ups, and caution costs no more than these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

import requests
from alpaca.common.exceptions import APIError

from src.shared.domain.errors import DuplicateOrderId, OutcomeUnknown, Refused, TradewindsError, Transient

NOT_UNIQUE = "40010001"
_KEYS = "TRADEWINDS_ALPACA_API_KEY, TRADEWINDS_ALPACA_SECRET_KEY and TRADEWINDS_ALPACA_ENVIRONMENT (or _BASE_URL)"
_EXCERPT = 200


class Purpose(Enum):
    """What a request was for decides what its failure means."""

    ORDER = "placing an order"
    CANCEL = "cancelling"
    READ = "reading"


@dataclass(frozen=True)
class Failure:
    """A failed request in plain values: HTTP status and vendor's code where there were any, and one line."""

    message: str
    status: int | None = None
    code: str | None = None
    is_json: bool = False


def translate(error: Exception, purpose: Purpose, what: str, secrets: Collection[str]) -> TradewindsError:
    """Say in our own terms what a failure of `what` means. The line holds none of the `secrets`."""
    failure = _failure(error)
    return _MEANING[purpose](failure, hidden(f"Alpaca, {what}: {_shown(failure)}", secrets))


def hidden(text: str, secrets: Collection[str]) -> str:
    """Put stars in the place of secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _order_failed(failure: Failure, line: str) -> TradewindsError:
    if _says_not_unique(failure):
        return DuplicateOrderId(line, NOT_UNIQUE)
    return _write_failed(failure, line)


def _write_failed(failure: Failure, line: str) -> TradewindsError:
    code = _refusal_code(failure)
    return OutcomeUnknown(line) if code is None else Refused(line, code)


def _read_failed(failure: Failure, line: str) -> TradewindsError:
    if failure.status in {401, 403}:
        return Refused(f"{line} Check {_settings_to_correct(failure)}.", failure.code or str(failure.status))
    code = _refusal_code(failure)
    return Transient(line) if code is None else Refused(line, code)


_MEANING: dict[Purpose, Callable[[Failure, str], TradewindsError]] = {
    Purpose.ORDER: _order_failed,
    Purpose.CANCEL: _write_failed,
    Purpose.READ: _read_failed,
}


def _refusal_code(failure: Failure) -> str | None:
    status = failure.status or 0
    if not 400 <= status < 500 or status in {408, 429}:
        return None
    if failure.code is None and failure.is_json and status in {401, 403}:
        return str(status)
    return failure.code


def _says_not_unique(failure: Failure) -> bool:
    # The same code stands for every other validation error, so the words have to be looked at.
    words = failure.message.lower()
    return (failure.status, failure.code) == (422, NOT_UNIQUE) and "client_order_id" in words and "unique" in words


def _settings_to_correct(failure: Failure) -> str:
    return "TRADEWINDS_ALPACA_FEED" if "subscription" in failure.message.lower() else _KEYS


def _failure(error: Exception) -> Failure:
    if isinstance(error, APIError):
        return _answered(error.status_code or 0, str(error))
    if isinstance(error, requests.JSONDecodeError):
        return Failure("the answer is not JSON")
    if isinstance(error, requests.Timeout):
        return Failure("timed out")
    return Failure(
        f"{type(error).__name__}: {error}" if isinstance(error, requests.RequestException) else _odd(error)
    )


def _odd(error: Exception) -> str:
    return f"an answer that can't be read ({type(error).__name__}: {error})"


def _answered(status: int, body: str) -> Failure:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return Failure(body, status)
    if not isinstance(parsed, dict):
        return Failure(body, status)
    code = str(parsed.get("code", ""))
    numeric = code if code.isascii() and code.isdigit() else None
    return Failure(str(parsed.get("message", body)), status, numeric, is_json=True)


def _shown(failure: Failure) -> str:
    text = " ".join(failure.message.split())
    excerpt = text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
    status = "" if failure.status is None else f"HTTP {failure.status}"
    code = f" ({failure.code})" if failure.code else ""
    return f"{status}{code} {excerpt}".strip() + ("" if excerpt.endswith((".", "…")) else ".")
