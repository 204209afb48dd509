"""Every trading evening, after the bars have come in: the indicators of what is new."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.analytics_tasks import (
    compute_batches,
    indicators_end,
    list_indicator_batches,
    publish_indicators,
)


@flow(name="daily-indicators", retries=1, retry_delay_seconds=60, timeout_seconds=3600)
async def daily_indicators(
    symbols: list[str] | None = None, timeframes: list[str] | None = None
) -> dict[str, Any] | State[Any]:
    """Bring every series of indicators up to its bars; only what is missing or stale is written."""
    batches = await list_indicator_batches(symbols, timeframes)
    run = await compute_batches(batches, "missing")
    await publish_indicators(run)
    return indicators_end(run)
