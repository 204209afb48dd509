"""What Yahoo's answers are, before anything is read from them: JSON under one name, or a refusal with a reason."""

from __future__ import annotations

import json
from typing import Any

from src.shared.domain.errors import Transient

Raw = dict[str, Any]

_NO_ROWS = ("no fundamentals data found", "data doesn't exist for startdate")
_UNKNOWN = ("no data found", "quote not found", "not found")


class YahooSaid(Exception):
    """Yahoo understood the request and said no, for a reason."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(f"Yahoo says: {description or code}")
        self.status = status
        self.code = code
        self.description = description

    @property
    def means_nothing_there(self) -> bool:
        """Whether the symbol is known and only has nothing of what was asked for."""
        return self.description.lower().startswith(_NO_ROWS)

    @property
    def means_unknown_symbol(self) -> bool:
        """Whether there is no such symbol, or no longer."""
        return not self.means_nothing_there and self.description.lower().startswith(_UNKNOWN)


def explained(text: str) -> tuple[str, str] | None:
    """Find code and description of a refusal in the body of an answer; None where it is no word of Yahoo's API."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    for content in body.values():
        error = content.get("error") if isinstance(content, dict) else None
        if isinstance(error, dict):
            return str(error.get("code", "")), str(error.get("description", ""))
    return None


def content_of(text: str, root: str) -> list[Any]:
    """Return the list of results under `root`.

    Raises:
        YahooSaid: the answer carries a refusal in place of results.
        Transient: it is no answer of Yahoo's API: a page, a part of one, something else.
    """
    try:
        body = json.loads(text)
    except ValueError:
        raise Transient("Yahoo's answer is no JSON") from None
    content = body.get(root) if isinstance(body, dict) else None
    if not isinstance(content, dict):
        raise Transient(f"Yahoo's answer has no {root}")
    error = content.get("error")
    if isinstance(error, dict):
        raise YahooSaid(200, str(error.get("code", "")), str(error.get("description", "")))
    results = content.get("result")
    if not isinstance(results, list):
        raise Transient(f"Yahoo's answer has no results under {root}")
    return results
