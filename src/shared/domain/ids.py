"""Names of things: symbols, pairs, pair trades and the order ids that a broker sees.

Every key is made from the slot and from what is traded, never from the wall clock or a random number, so that
a second run of the same slot makes the same keys.
"""

from __future__ import annotations

import re
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from src.shared.domain.errors import InputInvalid

SYMBOL_PATTERN = r"^[A-Z][A-Z0-9.]{0,9}$"
MAX_CLIENT_ORDER_ID = 48

_SYMBOL = re.compile(SYMBOL_PATTERN)
_NAMESPACE = uuid5(NAMESPACE_URL, "tradewinds")


def parse_symbol(text: str) -> str:
    """Return `text` if it is a symbol.

    Raises:
        InputInvalid: it is not; nothing that came from outside reaches a URL or a query unchecked.
    """
    if not _SYMBOL.fullmatch(text):
        raise InputInvalid(
            f"{text!r} is not a symbol: capital letters, digits and dots, a letter first, at most 10, such as BRK.B."
        )
    return text


def parse_pair_id(text: str) -> tuple[str, str]:
    """Split `"SPY/QQQ"` into its two symbols.

    Raises:
        InputInvalid: it is not two different symbols with a slash between.
    """
    first, slash, second = text.partition("/")
    if not slash:
        raise InputInvalid(f"{text!r} is not a pair: write two symbols with a slash, such as SPY/QQQ.")
    legs = parse_symbol(first), parse_symbol(second)
    if legs[0] == legs[1]:
        raise InputInvalid(f"{text!r} pairs a symbol with itself; name two different symbols.")
    return legs


def pair_id(symbol_1: str, symbol_2: str) -> str:
    """Name the pair of two symbols; the order matters, the first leg is the one regressed."""
    return f"{symbol_1}/{symbol_2}"


def symbol_trade_name(instance: str, symbol: str) -> str:
    """Name what an instance trades in one symbol, `trend:SPY`: it stands where else a pair's id stands."""
    return f"{instance}:{symbol}"


def symbols_of(name: str) -> tuple[str, ...]:
    """Return the symbols of a pair's two legs, or the one that an instance trades, from the name of either.

    Raises:
        InputInvalid: it is neither.
    """
    _, colon, symbol = name.partition(":")
    return (parse_symbol(symbol),) if colon else parse_pair_id(name)


def derived_id(*parts: str) -> UUID:
    """Derive the same UUID from the same parts, always."""
    return uuid5(_NAMESPACE, "\x1f".join(parts))


def slot_key(slot: datetime) -> str:
    """Write a slot (UTC) as the text that keys and correlation ids carry."""
    return slot.strftime("%Y-%m-%dT%H:%MZ")


def pair_trade_id(environment: str, pair: str, slot: datetime) -> UUID:
    """Name the one trade that a pair may open in a slot."""
    return derived_id("pair-trade", environment, pair, slot_key(slot))


def client_order_id(environment: str, trade: UUID, leg: int, action: str, attempt: int) -> str:
    """Name an order for the broker, at most 48 characters: `tw-twin-<20 hex>-1-open-1`."""
    name = f"tw-{environment}-{trade.hex[:20]}-{leg}-{action}-{attempt}"
    if len(name) > MAX_CLIENT_ORDER_ID:
        raise ValueError(f"client order id {name!r} is longer than {MAX_CLIENT_ORDER_ID} characters")
    return name


def client_order_prefix(environment: str) -> str:
    """The beginning of every order id that is ours in this environment."""
    return f"tw-{environment}-"
