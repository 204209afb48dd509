"""By hand, or by the schedule of a template that was deployed: a strategy over its bars, observing."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.workflow_tasks import load_workflow_bars, publish_study, run_strategy, what_is_wanted


@flow(name="run-workflow", retries=1, retry_delay_seconds=60, timeout_seconds=3600)
async def run_workflow(
    template: str,
    lookback: int | None = None,
    since: date | None = None,
    max_buffer_seconds: float | None = None,
    report_every: int | None = None,
) -> dict[str, Any] | State[Any]:
    """Load the bars that a template asks for, run its strategy over them, and leave decisions and reports."""
    wanted = what_is_wanted(lookback, since, max_buffer_seconds, report_every)
    failed = await load_workflow_bars(template, wanted)
    result = await run_strategy(template, wanted)
    summary = await publish_study(result)
    if result.obstacle:
        return ended("NO_DECISION", result.obstacle, summary)
    return ended("PARTIAL", f"Not loaded: {'; '.join(failed)}.", summary) if failed else summary
