"""What an instance was given, as plain data that is stored with its decision and read again by a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from src.services.strategy_engine.domain.decision import DataBlock, Freeze, Thresholds
from src.services.strategy_engine.domain.evaluation import Rules, UnfinishedTrade, WatchedPair
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState

Json = Mapping[str, Any]


def trade_json(trade: UnfinishedTrade) -> dict[str, Any]:
    """Write an unfinished trade."""
    return {"direction": trade.direction.value, "state": trade.state.value, "slot": trade.slot.isoformat()}


def trade_from(plain: Json) -> UnfinishedTrade:
    """Read what `trade_json` wrote."""
    slot = datetime.fromisoformat(plain["slot"])
    return UnfinishedTrade(Direction(plain["direction"]), PairTradeState(plain["state"]), slot)


def watched_json(watched: WatchedPair) -> dict[str, Any]:
    """Write a pair as an instance was given it: parameters, trade, last stop, freeze, block and rules."""
    return {
        "pair": {**asdict(watched.pair), "mode": watched.pair.mode.value},
        "trade": trade_json(watched.trade) if watched.trade else None,
        "last_stop": watched.last_stop.isoformat() if watched.last_stop else None,
        "freeze": watched.freeze.value,
        "block": {**asdict(watched.block), "numbers": dict(watched.block.numbers)} if watched.block else None,
        "rules": _rules_json(watched.rules) if watched.rules else None,
    }


def watched_from(plain: Json) -> WatchedPair:
    """Read what `watched_json` wrote."""
    pair, block, rules = plain["pair"], plain["block"], plain["rules"]
    return WatchedPair(
        Pair(**{**pair, "mode": PairMode(pair["mode"])}),
        trade_from(plain["trade"]) if plain["trade"] else None,
        datetime.fromisoformat(plain["last_stop"]) if plain["last_stop"] else None,
        Freeze(plain["freeze"]),
        DataBlock(**block) if block else None,
        _rules_from(rules) if rules else None,
    )


def _rules_json(rules: Rules) -> dict[str, Any]:
    thresholds = rules.thresholds
    levels = {**asdict(thresholds), "max_slot_age": thresholds.max_slot_age.total_seconds()}
    return {"instance": rules.instance, "is_on": rules.is_on, "thresholds": levels}


def _rules_from(plain: Json) -> Rules:
    levels = plain["thresholds"]
    thresholds = Thresholds(**{**levels, "max_slot_age": timedelta(seconds=levels["max_slot_age"])})
    return Rules(plain["instance"], plain["is_on"], thresholds)
