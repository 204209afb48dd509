"""Tasks of analytics."""

from __future__ import annotations

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

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
