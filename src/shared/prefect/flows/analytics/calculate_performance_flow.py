"""By hand or after a trade closed: its result, recorded."""

from __future__ import annotations

from typing import Any

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.analytics_tasks import publish_performance, record_results
from src.shared.prefect.tasks.execution_tasks import last_slot, read_market_clock


@flow(name="calculate-performance", retries=1, retry_delay_seconds=30, timeout_seconds=600)
async def calculate_performance() -> dict[str, Any]:
    """Record every finished trade's result and leave the results by pair as a table."""
    recorded = await record_results(await last_slot(await read_market_clock()))
    await publish_performance()
    return {"recorded": recorded}
