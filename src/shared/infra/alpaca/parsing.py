"""From the broker's JSON to reports. One unreadable object never costs the rest of a list.

Words the broker may add to (an order's status) stay text. Whatever decides over money, a quantity, a side, a price,
must be understood or the object is unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import numpy as np

from src.shared.domain.corporate_actions import AccountActivity, CorporateAction, CorporateActionKind
from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import parse_symbol
from src.shared.domain.orders import (
    AccountReport,
    AssetReport,
    FillReport,
    MarketClock,
    OrderReport,
    PositionReport,
)
from src.shared.domain.vendor_data import Quote, VendorBar, VendorBars

T = TypeVar("T")

Raw = Mapping[str, Any]

_SIGNS = {"buy": 1, "sell": -1, "sell_short": -1}
_OTHER_CLASSES = frozenset({"crypto", "crypto_perp", "us_option"})
# Group of the vendor → what the books make of it, and which field names the symbol that it happens to.
_ACTIONS = {
    "forward_splits": (CorporateActionKind.SPLIT, "symbol"),
    "reverse_splits": (CorporateActionKind.SPLIT, "symbol"),
    "stock_dividends": (CorporateActionKind.OTHER, "symbol"),
    "cash_dividends": (CorporateActionKind.CASH_DIVIDEND, "symbol"),
    "name_changes": (CorporateActionKind.SYMBOL_CHANGE, "old_symbol"),
    "cash_mergers": (CorporateActionKind.CASH_MERGER, "acquiree_symbol"),
    "worthless_removals": (CorporateActionKind.REMOVAL, "symbol"),
}
_SUBJECTS = ("symbol", "acquiree_symbol", "source_symbol", "old_symbol")
_EFFECTIVE = ("ex_date", "effective_date", "process_date")
_LARGEST = Decimal("1e15")
_RAW_KEPT = 4000
# "2026-03-09T13:30:00Z", the form in which bars have their time.
_PLAIN_TIME = 20


class Unreadable(Exception):
    """A part of an answer has not the form it must have. Stays inside this package."""


@dataclass(frozen=True)
class Quarantined:
    """An object of an answer that could not be read: what it should have been, why not, and its raw text.

    `symbol` is what it is about, a stock or not, where that much of it can be read.
    """

    kind: str
    reason: str
    raw: str
    symbol: str | None = None


def read_list(kind: str, answer: Any, parse: Callable[[Raw], T | None], bad: list[Quarantined]) -> list[T]:
    """Parse a list object by object; the unreadable ones go to `bad`, those `parse` gives None for are left out.

    Raises:
        Unreadable: the answer is not a list at all.
    """
    if not isinstance(answer, list):
        raise Unreadable(f"a list of {kind}s was expected, not {type(answer).__name__}")
    good = []
    for item in answer:
        try:
            parsed = parse(as_object(item))
        except Unreadable as error:
            bad.append(quarantined(kind, error, item))
        else:
            good += [] if parsed is None else [parsed]
    return good


def quarantined(kind: str, error: Unreadable, item: Any) -> Quarantined:
    """Keep what can't be read, with the reason."""
    return Quarantined(kind, str(error), json.dumps(item, default=str)[:_RAW_KEPT], _symbol_if_told(item))


def as_object(answer: Any) -> Raw:
    """Return the answer if it is a JSON object."""
    if not isinstance(answer, dict):
        raise Unreadable(f"an object was expected, not {type(answer).__name__}")
    return answer


def order(raw: Raw) -> OrderReport | None:
    """Read an order; None for one in another asset class. A notional order's quantity is what has been filled."""
    if raw.get("asset_class") in _OTHER_CLASSES:
        return None
    sign = _sign(raw)
    filled = _decimal(raw, "filled_qty", least=Decimal(0))
    average = raw.get("filled_avg_price")
    return OrderReport(
        broker_order_id=_text(raw, "id"),
        client_order_id=_text(raw, "client_order_id"),
        symbol=_symbol(raw),
        quantity=sign * (filled if raw.get("qty") is None else _decimal(raw, "qty", least=Decimal(0))),
        filled_quantity=sign * filled,
        filled_avg_price=None if average is None else _decimal(raw, "filled_avg_price"),
        status=_text(raw, "status"),
        created_at=moment(raw, "created_at"),
        updated_at=moment(raw, "updated_at" if raw.get("updated_at") else "created_at"),
    )


def fill(raw: Raw) -> FillReport:
    """Read an activity of type FILL; its side may be sell_short."""
    return FillReport(
        activity_id=_text(raw, "id"),
        broker_order_id=_text(raw, "order_id"),
        symbol=_symbol(raw),
        quantity=_sign(raw) * _positive(raw, "qty"),
        price=_positive(raw, "price"),
        occurred_at=moment(raw, "transaction_time"),
    )


def activity(raw: Raw) -> AccountActivity | None:
    """Read an activity; None for an execution. Its amount of money must be there, shares and symbol need not."""
    if raw.get("activity_type") == "FILL":
        return None
    return AccountActivity(
        id=_text(raw, "id"),
        kind=_text(raw, "activity_type"),
        day=_day(raw, "date"),
        net_amount=_decimal(raw, "net_amount"),
        symbol=_symbol(raw) if raw.get("symbol") else None,
        quantity=_decimal(raw, "qty") if raw.get("qty") not in (None, "") else None,
        per_share=_decimal(raw, "per_share_amount") if raw.get("per_share_amount") not in (None, "") else None,
        description=str(raw.get("description") or ""),
        status=str(raw.get("status") or ""),
    )


def corporate_action(group: str, raw: Raw) -> CorporateAction:
    """Read a row of one group of the announcements, such as `forward_splits`; an unknown group is of kind `other`."""
    kind, symbol_name = _ACTIONS.get(group, (CorporateActionKind.OTHER, ""))
    splits = kind is CorporateActionKind.SPLIT
    old, new = (_positive(raw, "old_rate"), _positive(raw, "new_rate")) if splits else (Decimal(1), Decimal(1))
    if group == "stock_dividends":
        kind, new = CorporateActionKind.SPLIT, 1 + _positive(raw, "rate")
    pays = kind in (CorporateActionKind.CASH_DIVIDEND, CorporateActionKind.CASH_MERGER)
    return CorporateAction(
        id=_text(raw, "id"),
        kind=kind,
        vendor_type=group.removesuffix("s"),
        symbol=_symbol(raw, symbol_name or _first_present(raw)),
        ex_date=_day(raw, next((name for name in _EFFECTIVE if raw.get(name)), "process_date")),
        old_rate=old,
        new_rate=new,
        cash_per_share=_decimal(raw, "rate", least=Decimal(0)) if pays else Decimal(0),
        new_symbol=_symbol(raw, "new_symbol") if kind is CorporateActionKind.SYMBOL_CHANGE else None,
        raw=raw,
    )


def _first_present(raw: Raw) -> str:
    return next((name for name in _SUBJECTS if raw.get(name)), "symbol")


def position(raw: Raw) -> PositionReport | None:
    """Read a position; None for one in another asset class. The sign of the quantity and the side must agree."""
    if raw.get("asset_class") in _OTHER_CLASSES:
        return None
    quantity = _decimal(raw, "qty")
    side = _text(raw, "side")
    if side not in {"long", "short"} or (side == "long" and quantity < 0):
        raise Unreadable(f"side {side!r} and qty {quantity} don't agree")
    return PositionReport(
        symbol=_symbol(raw),
        quantity=-abs(quantity) if side == "short" else quantity,
        price=_price_if_told(raw),
    )


def account(raw: Raw) -> AccountReport:
    """Read the account; anything that blocks or suspends trading counts as blocked."""
    blocks = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    return AccountReport(
        account_id=account_id(raw),
        status=_text(raw, "status"),
        equity=_decimal(raw, "equity"),
        last_equity=_decimal(raw, "last_equity"),
        cash=_decimal(raw, "cash"),
        buying_power=_decimal(raw, "buying_power"),
        shorting_enabled=_flag(raw, "shorting_enabled"),
        trading_blocked=any(_flag(raw, name) for name in blocks),
    )


def account_id(raw: Raw) -> str:
    """Read whose account it is, whatever else of it can be read."""
    return _text(raw, "id")


def asset(raw: Raw) -> AssetReport:
    """Read an asset; one that is not active is neither tradable nor shortable."""
    active = _text(raw, "status") == "active"
    return AssetReport(
        symbol=_symbol(raw),
        name=str(raw.get("name") or ""),
        exchange=str(raw.get("exchange") or ""),
        tradable=active and _flag(raw, "tradable"),
        shortable=active and _flag(raw, "shortable"),
        easy_to_borrow=active and _flag(raw, "easy_to_borrow"),
        active=active,
    )


def clock(raw: Raw) -> MarketClock:
    """Read the market clock."""
    return MarketClock(
        now=moment(raw, "timestamp"),
        is_open=_flag(raw, "is_open"),
        next_open=moment(raw, "next_open"),
        next_close=moment(raw, "next_close"),
    )


def bar(symbol: str, raw: Raw) -> VendorBar:
    """Read a bar; a price that is no number becomes NaN, for the quality gate to judge and count."""
    return VendorBar(symbol, moment(raw, "t"), *(_float(raw.get(name)) for name in "ohlcv"))


def bar_columns(symbol: str, rows: Any) -> VendorBars | None:
    """Read a page of bars in columns; None unless each row has a plain time in UTC and numbers, as it should."""
    try:
        times = [row["t"] for row in rows]
        numbers = [[row[name] for row in rows] for name in "ohlcv"]
        if not all(len(time) == _PLAIN_TIME and time[-1] == "Z" for time in times):
            return None
        starts = np.array([time[:-1] for time in times], dtype="datetime64[us]")
        columns = [np.array(column, dtype=np.float64) for column in numbers]
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        return None
    # A text such as "12.5" or a flag becomes a number above; row by row it would not.
    if {type(number) for column in numbers for number in column} - {float, int}:
        return None
    return VendorBars(symbol, starts, *columns)


def quote(symbol: str, raw: Raw) -> Quote:
    """Read a latest quote."""
    bid, ask, bid_size, ask_size = (_decimal(raw, name, least=Decimal(0)) for name in ("bp", "ap", "bs", "as"))
    return Quote(symbol, bid, ask, bid_size, ask_size, moment(raw, "t"))


def moment(raw: Raw, name: str) -> datetime:
    """Read a time with its zone as UTC; nanoseconds are cut to microseconds."""
    try:
        parsed = datetime.fromisoformat(_text(raw, name))
        if parsed.tzinfo is None:
            raise Unreadable(f"{name} has no time zone")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unreadable(f"{name} is not a time") from None


def _text(raw: Raw, name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} is missing")
    return value


def _symbol(raw: Raw, name: str = "symbol") -> str:
    try:
        return parse_symbol(_text(raw, name))
    except InputInvalid:
        raise Unreadable(f"{name} is not one of a stock") from None


def _symbol_if_told(item: Any) -> str | None:
    """Return what a row says that it is about, written as symbols are, be it a stock or not; None if it is silent."""
    try:
        return _text(as_object(item), "symbol").strip().upper() or None
    except Unreadable:
        return None


def _day(raw: Raw, name: str) -> date:
    try:
        return date.fromisoformat(_text(raw, name)[:10])
    except ValueError:
        raise Unreadable(f"{name} is not a date") from None


def _sign(raw: Raw) -> int:
    side = _text(raw, "side")
    if side not in _SIGNS:
        raise Unreadable(f"side {side!r} is not known")
    return _SIGNS[side]


def _flag(raw: Raw, name: str) -> bool:
    value = raw.get(name)
    if not isinstance(value, bool):
        raise Unreadable(f"{name} is not true or false")
    return value


def _decimal(raw: Raw, name: str, least: Decimal | None = None) -> Decimal:
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unreadable(f"{name} is not a number")
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise Unreadable(f"{name} is not a number") from None
    if not number.is_finite() or abs(number) > _LARGEST or (least is not None and number < least):
        raise Unreadable(f"{name} is out of bounds")
    return number


def _price_if_told(raw: Raw) -> Decimal | None:
    """Read what is only shown: a row must not be lost because of it."""
    try:
        return _positive(raw, "current_price")
    except Unreadable:
        return None


def _positive(raw: Raw, name: str) -> Decimal:
    number = _decimal(raw, name)
    if number <= 0:
        raise Unreadable(f"{name} is not above zero")
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return float("nan")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return float("nan")
