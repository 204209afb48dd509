"""By hand: the indicators that are missing, of some symbols or days."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.analytics_tasks import (
    compute_batches,
    indicators_end,
    list_indicator_batches,
    publish_indicators,
)


@flow(name="indicators-missing", retries=1, retry_delay_seconds=60, timeout_seconds=3600)
async def indicators_missing(
    symbols: list[str] | None = None,
    timeframes: list[str] | None = None,
    first: date | None = None,
    last: date | None = None,
) -> dict[str, Any] | State[Any]:
    """Write what is missing or stale from `first` to `last`, days in UTC; all of it where nothing is named."""
    batches = await list_indicator_batches(symbols, timeframes)
    run = await compute_batches(batches, "missing", first, last)
    await publish_indicators(run)
    return indicators_end(run)
