"""Strategies called as in a cell, but in the test's own process."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.services.strategy_engine.adapters.cell import PROGRESS_BYTES, Ask, Budget, Cell
from src.services.strategy_engine.adapters.cells import (
    described_or_fault,
    drawing_or_fault,
    reach_or_fault,
    stepped_or_fault,
)
from src.services.strategy_engine.domain.instances import Failed, Job, Reach, Stepped
from src.services.strategy_engine.ports import Described, Market
from src.shared.domain.ticks import Tick


class InlineRunner:
    """Implements `StrategyRunner` without a process."""

    def __init__(self, folder: Path) -> None:
        self._cell = Cell(folder, Budget(600, 600, 10_000), mmap.mmap(-1, PROGRESS_BYTES))

    def reaches(self, jobs: Sequence[Job]) -> list[Reach | Failed]:
        return [reach_or_fault(each) for each in self._cell.answer(Ask("reach", tuple(jobs)))]

    def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        return self._step(market, None, jobs)

    def ticks(self, market: Market, tick: Tick, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        return self._step(market, tick, jobs)

    def drawings(self, market: Market, jobs: Sequence[Job]) -> list[tuple[Mapping[str, object], ...] | Failed]:
        self._cell.answer(market)
        return [drawing_or_fault(each) for each in self._cell.answer(Ask("draw", tuple(jobs)))]

    def described(self, jobs: Sequence[Job]) -> list[Described | Failed]:
        return [described_or_fault(each) for each in self._cell.answer(Ask("describe", tuple(jobs)))]

    def close(self) -> None:
        self._cell.market = None

    def _step(self, market: Market, tick: Tick | None, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        self._cell.answer(market)
        return [stepped_or_fault(each) for each in self._cell.answer(Ask("step", tuple(jobs), tick))]
