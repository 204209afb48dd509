"""Numbers as vendors write them: plain, in text, with a per cent sign, in a pair {raw, fmt}, or not at all."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, Final

LARGEST: Final = 1e18
"""Nothing that is said of a company is larger, in dollars or shares."""

_ABSENT = frozenset({"", "-", "--", "—", "n/a", "na", "nan", "none", "null", "∞", "-∞", "inf", "-inf", "+inf"})
_ENDLESS = re.compile(r"[+-]?infinity")
_WRITTEN = re.compile(r"([+-]?)\$?(\d+(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3}))?\s*([%kKmMbBtT]?)")
_PLACES = {"": 0, "%": -2, "k": 3, "m": 6, "b": 9, "t": 12}
_OLDEST, _LATEST = date(1900, 1, 1), date(2200, 1, 1)


class NotAFigure(ValueError):
    """Something stands where a number belongs, and it can't be read as one."""


def figure(value: Any) -> float | None:
    """Read a number; None where the vendor has none, or none that is finite. "12.3%" is 0.123.

    Raises:
        NotAFigure: what stands there is neither a number nor a known way to write that there is none.
    """
    if isinstance(value, dict):
        return figure(value["raw"] if value.get("raw") is not None else value.get("fmt"))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise NotAFigure(f"{value!r} is no number")
    number = _written(value) if isinstance(value, str) else _float(value)
    if number is None or not isfinite(number):
        return None
    if abs(number) > LARGEST:
        raise NotAFigure(f"{number:g} is too large")
    return number


def whole(value: Any) -> int | None:
    """Read a number that counts something; see `figure`.

    Raises:
        NotAFigure: as `figure`, or it is not whole.
    """
    number = figure(value)
    if number is not None and number != int(number):
        raise NotAFigure(f"{number:g} is not whole")
    return None if number is None else int(number)


def day(value: Any) -> date | None:
    """Read a day: an ISO date, or seconds since 1970.

    Raises:
        NotAFigure: it is neither, or lies outside of 1900 to 2200.
    """
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value.strip()):
        try:
            found = date.fromisoformat(value.strip())
        except ValueError:
            raise NotAFigure(f"{value!r} is no day") from None
    else:
        seconds = figure(value)
        if seconds is None:
            return None
        try:
            found = datetime.fromtimestamp(seconds, UTC).date()
        except (OverflowError, OSError, ValueError):
            raise NotAFigure(f"{seconds:g} is no day") from None
    if not _OLDEST <= found < _LATEST:
        raise NotAFigure(f"{found} is no day of a company")
    return found


def words(value: Any) -> str | None:
    """Read a text, without what surrounds it; None for an empty one."""
    if not isinstance(value, str):
        return None
    # PostgreSQL stores no NUL.
    return " ".join(value.replace("\x00", " ").split()) or None


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise NotAFigure("a whole number is too large") from None


def _written(text: str) -> float | None:
    said = text.strip()
    if said.lower() in _ABSENT or _ENDLESS.fullmatch(said.lower()):
        return None
    negative = said.startswith("(") and said.endswith(")")
    match = _WRITTEN.fullmatch(said[1:-1] if negative else said)
    if match is None:
        raise NotAFigure(f"{text[:40]!r} is no number")
    sign, digits, exponent, unit = match.groups()
    number = float(f"{digits.replace(',', '')}e{int(exponent or 0) + _PLACES[unit.lower()]}")
    return -number if negative != (sign == "-") else number
