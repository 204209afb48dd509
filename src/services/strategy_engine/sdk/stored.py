"""What an instance holds as plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from src.services.strategy_engine.domain.given import trade_from, trade_json
from src.services.strategy_engine.sdk.slot import Held


def held_json(held: Held) -> dict[str, Any]:
    """Write what is held."""
    return {
        "fractions": dict(held.fractions),
        "trades": {pair: trade_json(trade) for pair, trade in held.trades.items()},
    }


def held_from(plain: Mapping[str, Any]) -> Held:
    """Read what `held_json` wrote; nothing is held where there is nothing."""
    trades = {pair: trade_from(trade) for pair, trade in plain.get("trades", {}).items()}
    return Held(MappingProxyType(dict(plain.get("fractions", {}))), MappingProxyType(trades))
