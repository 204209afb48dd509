"""Tasks of the data ingestion service."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.states import is_transient
from src.shared.prefect.tasks.wiring import RETRY_DELAYS, services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.loads import LoadResult


@task(
    name="fetch-bars",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_transient,
)
async def fetch_bars(symbols: list[str], slot: datetime) -> LoadResult:
    """Store the hourly bars that are missing up to a slot."""
    wired = services()
    load = wired.ingestion.fetch_bars(symbols, slot, wired.settings.strategy.history_bars)
    logger.info(
        "Bars up to {:%Y-%m-%d %H:%M} UTC for {} symbols: {} written, {} rejected, {} missing.",
        slot,
        len(symbols),
        load.rows_written,
        load.rows_rejected,
        load.rows_missing,
    )
    return load
