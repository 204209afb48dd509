"""The look at all legs before the first order: whatever would strand the second leg stops the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from src.shared.domain.orders import AssetReport
from src.shared.domain.pairs import PairTrade


@dataclass(frozen=True)
class Surroundings:
    """What else is there.

    Signed shares by symbol, ours and others', the symbols with open orders, and the dollars of buying power left.
    """

    assets: Mapping[str, AssetReport]
    ours: Mapping[str, Decimal]
    external: Mapping[str, Decimal]
    working: frozenset[str]
    buying_power: Decimal


def objection(trade: PairTrade, needed: Decimal, around: Surroundings) -> str | None:
    """Say why this entry, which needs so many dollars of buying power, must not be sent, or None."""
    for leg in trade.legs:
        if found := _leg_objection(trade.symbol(leg), trade.target(leg), around):
            return found
    if needed > around.buying_power:
        return f"all legs need ${needed:.2f} of buying power, ${around.buying_power:.2f} is left"
    return None


def _leg_objection(symbol: str, quantity: Decimal, around: Surroundings) -> str | None:
    asset = around.assets.get(symbol)
    held = around.ours.get(symbol, Decimal(0))
    objections = (
        (asset is None or not asset.tradable, f"{symbol} is not tradable"),
        (quantity < 0 and not _can_be_shorted(asset), f"{symbol} can't be sold short"),
        (quantity != quantity.to_integral_value(), f"{quantity} of {symbol} is not a whole number of shares"),
        (around.external.get(symbol, Decimal(0)) != 0, f"{symbol} is held outside of Tradewinds"),
        (symbol in around.working, f"an order in {symbol} is open"),
        # The broker refuses an order that turns a position round, and opposite orders in one symbol.
        (held * quantity < 0, f"another pair holds {symbol} on the other side"),
    )
    return next((text for objects, text in objections if objects), None)


def _can_be_shorted(asset: AssetReport | None) -> bool:
    return asset is not None and asset.shortable and asset.easy_to_borrow
