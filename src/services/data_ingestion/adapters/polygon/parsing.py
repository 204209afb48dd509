"""Polygon.io's JSON as values of ours. What can't be read is an error, or a row that is set aside with its reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.services.data_ingestion.domain.reference import (
    Dividend,
    Found,
    Listing,
    MarketStatus,
    StockSplit,
    Unreadable,
)
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.domain.ids import parse_symbol
from src.shared.domain.vendor_data import VendorBars

V = TypeVar("V")
Row = Mapping[str, Any]

VENDOR = "polygon"
_END_OF_TIME = 4_102_444_800_000  # the year 2100, in milliseconds
_SMALLEST, _LARGEST = Decimal("1e-9"), Decimal("1e11")
_MOST_A_YEAR = 366
_CURRENCY = re.compile("[A-Z]{3}")
_PRICES = ("o", "h", "l", "c", "v")
# What Polygon.io calls a dividend: regular, special, long-term and short-term gains of a fund.
_KINDS = {"CD": "regular", "SC": "special", "LT": "long_term_gain", "ST": "short_term_gain"}


def bars(symbol: str, rows: Sequence[Row]) -> VendorBars:
    """Put a page of aggregates into columns.

    Raises:
        Transient: a row has no time.
    """
    times = [row.get("t") for row in rows]
    if not all(isinstance(time, int) and 0 <= time < _END_OF_TIME for time in times):
        raise Transient(f"Polygon.io, bars of {symbol}: a bar without a time.")
    start = np.array(times, dtype="datetime64[ms]").astype("datetime64[us]")
    return VendorBars(symbol, start, *(_column(rows, name) for name in _PRICES))


def listing(row: Row) -> Listing:
    """Read one ticker."""
    active = row.get("active")
    if not isinstance(active, bool):
        raise Unreadable("active is neither true nor false")
    gone = row.get("delisted_utc")
    return Listing(
        symbol=_symbol(row),
        name=_text(row, "name"),
        exchange=_text(row, "primary_exchange"),
        active=active,
        delisted_on=_day_of(gone) if gone else None,
    )


def split(row: Row) -> StockSplit:
    """Read one split."""
    return StockSplit(
        symbol=_symbol(row),
        vendor=VENDOR,
        ex_date=_needed_day(row, "execution_date"),
        old_shares=_positive(row, "split_from"),
        new_shares=_positive(row, "split_to"),
    )


def dividend(row: Row) -> Dividend:
    """Read one dividend."""
    word = row.get("dividend_type", "CD")
    if not isinstance(word, str) or word not in _KINDS:
        raise Unreadable(f"dividend_type {word!r} is unknown")
    frequency = row.get("frequency")
    is_known = isinstance(frequency, int) and 0 <= frequency <= _MOST_A_YEAR
    return Dividend(
        symbol=_symbol(row),
        vendor=VENDOR,
        ex_date=_needed_day(row, "ex_dividend_date"),
        kind=_KINDS[word],
        amount=_positive(row, "cash_amount"),
        currency=_currency(row),
        declared_on=_day(row, "declaration_date"),
        recorded_on=_day(row, "record_date"),
        paid_on=_day(row, "pay_date"),
        times_a_year=frequency if is_known else None,
    )


def market_status(answer: Any) -> MarketStatus:
    """Read whether the market is open.

    Raises:
        Transient: it can't be read.
    """
    try:
        at = datetime.fromisoformat(answer["serverTime"])
        word = answer["market"]
    except (KeyError, TypeError, ValueError):
        raise Transient("Polygon.io, market status: the answer can't be read.") from None
    if at.tzinfo is None or not isinstance(word, str):
        raise Transient("Polygon.io, market status: the answer can't be read.")
    return MarketStatus(at, is_open=word == "open", word=word)


def read_rows(rows: Iterable[Row], read: Callable[[Row], V], found: Found[V]) -> None:
    """Read rows into `found`; what can't be read is set aside there and the rest goes on."""
    for row in rows:
        try:
            found.rows.append(read(row))
        except Unreadable as error:
            found.set_aside(str(row.get("ticker", "")), str(error), dict(row))


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([_float(row.get(name)) for row in rows], dtype=np.float64)


def _float(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return math.nan


def _symbol(row: Row) -> str:
    try:
        return parse_symbol(str(row.get("ticker", "")))
    except InputInvalid as error:
        raise Unreadable(str(error)) from None


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    # PostgreSQL holds no NUL.
    return value.replace("\0", "") if isinstance(value, str) else ""


def _needed_day(row: Row, name: str) -> date:
    day = _day(row, name)
    if day is None:
        raise Unreadable(f"{name} is missing")
    return day


def _day(row: Row, name: str) -> date | None:
    value = row.get(name)
    return None if value in (None, "") else _day_of(value)


def _day_of(value: Any) -> date:
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        raise Unreadable(f"{value!r} is no day") from None


def _currency(row: Row) -> str:
    code = str(row.get("currency") or "USD").upper()
    if not _CURRENCY.fullmatch(code):
        raise Unreadable(f"currency {code!r} is no code of three letters")
    return code


def _positive(row: Row, name: str) -> Decimal:
    value = row.get(name)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Unreadable(f"{name} {value!r} is no number") from None
    if not number.is_finite() or not 0 < number < _LARGEST:
        raise Unreadable(f"{name} {value!r} is not above zero and sane")
    # As it is stored: else it would look changed at the next load.
    rounded = number.quantize(_SMALLEST)
    if not rounded:
        raise Unreadable(f"{name} {value!r} is next to nothing")
    return rounded
