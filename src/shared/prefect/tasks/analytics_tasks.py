"""Tasks of analytics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.domain.errors import Terminal
from src.shared.prefect.monitoring import leave_table, progress
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from src.services.analytics.domain.staleness import Mode
    from src.services.analytics.use_cases.indicators import Batch, Computed

# One waits for the server while the other one's numbers are worked out.
_BATCHES_AT_ONCE = 2


@repeatable("record-results")
async def record_results(slot: datetime) -> int:
    """Record the result of every finished trade that has none yet; returns how many."""
    return services().analytics.record_results(slot)


@task(name="publish-performance", cache_policy=NO_CACHE)
async def publish_performance() -> None:
    """Leave the results by pair as a table on the run."""
    summary = services().analytics.performance_summary()
    rows: list[dict[str, Any]] = [
        {
            "pair": pair,
            "trades": result.trades,
            "wins": result.wins,
            "booked dollars": f"{result.total_pnl:.2f}",
            "mean dollars": "" if result.mean_pnl is None else f"{result.mean_pnl:.2f}",
            "win rate": result.win_rate,
        }
        for pair, result in summary.pairs.items()
    ]
    await leave_table("performance", rows, f"{summary.overall.trades} finished trades.")


@dataclass
class IndicatorsRun:
    """What a run did batch by batch, and the reason of each batch that failed."""

    computed: list[Computed] = field(default_factory=list)
    failed: list[tuple[Batch, str]] = field(default_factory=list)

    @property
    def written(self) -> int:
        """Count the rows that were written."""
        return sum(each.written for each in self.computed)


@repeatable("list-indicator-batches")
async def list_indicator_batches(symbols: list[str] | None, timeframes: list[str] | None) -> list[Batch]:
    """List the series of which bars are stored, in batches; all of them where nothing is named."""
    return services().indicators.batches(timeframes or (), symbols or ())


@repeatable("compute-indicators")
async def compute_indicators(batch: Batch, mode: Mode, first: date | None, last: date | None) -> Computed:
    """Bring the indicators of one batch up to its bars."""
    # In a thread: meanwhile the next batch is read.
    return await asyncio.to_thread(services().indicators.compute, batch, mode, first, last)


async def compute_batches(
    batches: list[Batch], mode: Mode, first: date | None = None, last: date | None = None
) -> IndicatorsRun:
    """Compute batches as tasks, a bounded number at once; one that fails does not keep the others from being done."""
    run, at_once = IndicatorsRun(), asyncio.Semaphore(_BATCHES_AT_ONCE)
    async with progress("indicators-progress", len(batches), "Batches of series that are done.") as step:

        async def one(batch: Batch) -> None:
            async with at_once:
                try:
                    run.computed.append(await compute_indicators(batch, mode, first, last))
                except Exception as error:
                    first_line, *_ = f"{type(error).__name__}: {error}".splitlines()
                    run.failed.append((batch, first_line))
            step()

        await asyncio.gather(*(one(batch) for batch in batches))
    return run


@task(name="publish-indicators", cache_policy=NO_CACHE)
async def publish_indicators(run: IndicatorsRun) -> None:
    """Leave what was written of each kind of bars, and what failed, as a table on the run."""
    rows: list[dict[str, Any]] = []
    for kind in sorted({each.batch.kind for each in run.computed}):
        done = [each for each in run.computed if each.batch.kind == kind]
        rows.append(
            {
                "bars": str(kind),
                "series": sum(len(each.batch.symbols) for each in done),
                "up to date": sum(each.untouched_series for each in done),
                "with replaced rows": sum(each.replaced_series for each in done),
                "rows written": sum(each.written for each in done),
                "failure": "",
            }
        )
    for batch, why in run.failed:
        logger.error("Indicators of {} ({} symbols) failed: {}", batch.kind, len(batch.symbols), why)
        rows.append({"bars": str(batch.kind), "series": len(batch.symbols), "failure": why})
    await leave_table("indicators", rows, f"{run.written} rows of indicators written.")


def indicators_end(run: IndicatorsRun) -> dict[str, Any] | State[Any]:
    """Say how a run ended: SKIPPED without bars, ALREADY_DONE, PARTIAL where some batches failed, or the counts.

    Raises:
        Terminal: every batch failed.
    """
    counts = {
        "series": sum(len(each.batch.symbols) for each in run.computed),
        "written": run.written,
        "failed": sum(len(batch.symbols) for batch, _ in run.failed),
    }
    if run.failed and not run.computed:
        raise Terminal(f"No indicators could be computed. {run.failed[0][1]}")
    if run.failed:
        return ended("PARTIAL", f"Of {counts['failed']} series no indicators could be computed.", counts)
    if not run.computed:
        return ended("SKIPPED", "No bars are stored that have indicators.", counts)
    if not run.written:
        return ended("ALREADY_DONE", f"The indicators of all {counts['series']} series are up to date.", counts)
    return counts
