"""Tasks of workflows: bars in, the strategy over them, and what came of it on the run. Nothing is sent."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services
from src.shared.prefect.tasks.workflow_bars import load_bars

if TYPE_CHECKING:
    from src.services.strategy_engine.use_cases.workflows import StudyDecision, StudyReport, StudyResult, Wanted

_MOST_ROWS = 500


@repeatable("load-workflow-bars")
async def load_workflow_bars(template: str, wanted: Wanted) -> list[str]:
    """Check the template and bring its bars in; list the symbols that failed."""
    found = services()
    workflow = found.workflows.read(Path(template))
    bars = found.workflows.bars_wanted(workflow, found.broker.clock().now, wanted)
    failed = await asyncio.to_thread(load_bars, found, bars)
    for each in failed:
        logger.warning("{} was not loaded", each)
    return failed


@repeatable("run-strategy")
async def run_strategy(template: str, wanted: Wanted) -> StudyResult:
    """Let the template's strategy decide about bar after bar, observing."""
    found = services()
    workflow = found.workflows.read(Path(template))
    now = found.broker.clock().now
    bars = found.workflows.bars_wanted(workflow, now, wanted)
    return await asyncio.to_thread(found.workflows.run, workflow, bars, now, wanted, _say)


@task(name="publish-study", cache_policy=NO_CACHE)
async def publish_study(result: StudyResult) -> dict[str, Any]:
    """Leave the newest decisions and the reports as tables on the run; return the run in figures."""
    from src.services.strategy_engine.use_cases.workflows import said_wish

    asking = [each for each in result.decisions if each.wishes][-_MOST_ROWS:]
    rows = [
        {"bar": f"{each.slot:%Y-%m-%d %H:%M}", "asks": "; ".join(map(said_wish, each.wishes)), "value": each.value}
        for each in asking
    ]
    reports = [
        {"bar": f"{each.slot:%Y-%m-%d %H:%M}", "bars": each.bars, "held": str(dict(each.held)), "value": each.value}
        for each in result.reports[-_MOST_ROWS:]
    ]
    await leave_table("workflow-decisions", rows, f"What {result.study} would have asked for.")
    await leave_table("workflow-reports", reports, f"How {result.study} stood.")
    return result.summary


def what_is_wanted(
    lookback: int | None, since: date | None, max_buffer_seconds: float | None, report_every: int | None
) -> Wanted:
    """Put what a run was told beside its template into one value."""
    from src.services.strategy_engine.use_cases.workflows import Wanted

    return Wanted(lookback, since, max_buffer_seconds, report_every)


def _say(told: StudyDecision | StudyReport) -> None:
    from src.services.strategy_engine.use_cases.workflows import said

    logger.info("{}", said(told))
