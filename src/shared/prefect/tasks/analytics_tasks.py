"""Tasks of analytics."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.states import is_transient
from src.shared.prefect.tasks.wiring import RETRY_DELAYS, services


@task(
    name="record-results",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_transient,
)
def record_results(slot: datetime) -> int:
    """Record the result of every finished trade that has none yet; returns how many."""
    return services().analytics.record_results(slot)


@task(name="publish-performance", cache_policy=NO_CACHE)
async def publish_performance() -> None:
    """Leave the results by pair as a table on the run."""
    summary = services().analytics.performance_summary()
    rows: list[dict[str, Any]] = [
        {name: value if isinstance(value, int | float) else str(value) for name, value in asdict(line).items()}
        for line in summary.pairs
    ]
    await leave_table("performance", rows, f"{summary.trades} finished trades.")
