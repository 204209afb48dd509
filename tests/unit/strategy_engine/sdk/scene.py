"""A market of a few bars, and strategies that tests write themselves."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair
from src.services.strategy_engine.sdk.config import config_schema
from src.services.strategy_engine.sdk.slot import Held, SlotData
from src.services.strategy_engine.sdk.state import state_schema
from src.services.strategy_engine.sdk.step import StepResult, step
from src.services.strategy_engine.sdk.strategy import Strategy, StrategyType
from src.shared.domain.bars import CloseSeries
from src.shared.domain.sessions import TradingCalendar

SLOT = datetime(2026, 3, 10, 17, 30, tzinfo=UTC)


def kind_of(strategy: type[Strategy], key: str = "mine") -> StrategyType:
    """Make a strategy type of a class that stands in a test."""
    config = config_schema(strategy.CONFIG_SCHEMA, key)
    path = Path(inspect.getfile(strategy))
    return StrategyType(key, strategy, config, state_schema(strategy.STATE, key), "0" * 16, path, False)


def slot_of(
    closes: Mapping[str, Sequence[float]], slot: datetime = SLOT, pairs: tuple[WatchedPair, ...] = ()
) -> SlotData:
    """Make a slot of the closes of each symbol, the last of which ends there."""
    count = len(next(iter(closes.values())))
    ends = tuple(end for _, end in TradingCalendar().last_spans(slot, count))
    matrix = np.array(list(closes.values()), dtype=np.float64).T
    return SlotData(
        SlotTime(slot, slot + timedelta(seconds=5), slot.replace(hour=20, minute=0)),
        CloseSeries(tuple(closes), ends, matrix),
        pairs,
    )


def taken(
    kind: StrategyType,
    values: Mapping[str, object],
    slot: SlotData,
    state: Mapping[str, Any] | None = None,
    held: Held | None = None,
) -> StepResult:
    """Take one step with a config of plain values."""
    return step(kind, kind.config.validate(values), state, slot, held or Held())


def written(folder: Path, name: str, text: str) -> Path:
    """Write a file, its text indented as it stands in the test."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path
