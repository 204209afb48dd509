from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from src.services.analytics.use_cases.indicators import Batch, Computed
from src.shared.domain.bars import DAILY, BarKind
from src.shared.domain.errors import Terminal
from src.shared.prefect.tasks import analytics_tasks
from src.shared.prefect.tasks.analytics_tasks import IndicatorsRun, compute_batches, indicators_end

KIND = BarKind(DAILY, "polygon", "split")
BATCHES = [Batch(KIND, (name,)) for name in "ABCDEF"]
BAD = BATCHES[2]


@dataclass
class Watched:
    """Stands for the task and for the run's progress: which steps were under way together, and what was counted."""

    at_once: int = 0
    most: int = 0
    counted: int = 0

    async def compute(self, batch: Batch, *_: Any) -> Computed:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if batch == BAD:
            raise Terminal("no room\nand more")
        return Computed(batch, 10, 5, 0, 0)

    @asynccontextmanager
    async def progress(self, _key: str, steps: int, _description: str) -> AsyncIterator[Callable[[], None]]:
        yield self.count
        assert self.counted == steps

    def count(self) -> None:
        self.counted += 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setattr(analytics_tasks, "compute_indicators", made.compute)
    monkeypatch.setattr(analytics_tasks, "progress", made.progress)
    return made


async def test_a_bounded_number_of_batches_is_computed_at_once_and_one_that_fails_stops_no_other(
    watched: Watched,
) -> None:
    run = await compute_batches(BATCHES, "missing")

    assert watched.most == 2
    assert [each.batch for each in run.computed] == [batch for batch in BATCHES if batch != BAD]
    assert run.failed == [(BAD, "Terminal: no room")]


async def test_a_batch_that_failed_counts_as_done_too(watched: Watched) -> None:
    await compute_batches(BATCHES, "missing")

    assert watched.counted == len(BATCHES)


def test_a_run_in_which_everything_failed_has_failed() -> None:
    with pytest.raises(Terminal, match=r"No indicators could be computed\. Terminal: no room"):
        indicators_end(IndicatorsRun(failed=[(BAD, "Terminal: no room")]))
