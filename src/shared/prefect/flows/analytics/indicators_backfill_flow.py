"""By hand, or once a month: indicators worked out anew, whether they stand already or not."""

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


@flow(name="indicators-backfill", retries=1, retry_delay_seconds=60, timeout_seconds=3600)
async def indicators_backfill(
    symbols: list[str] | None = None,
    timeframes: list[str] | None = None,
    first: date | None = None,
    last: date | None = None,
) -> dict[str, Any] | State[Any]:
    """Work out anew what lies from `first` to `last`, days in UTC; every series whole where nothing is named."""
    batches = await list_indicator_batches(symbols, timeframes)
    run = await compute_batches(batches, "all", first, last)
    await publish_indicators(run)
    return indicators_end(run)
