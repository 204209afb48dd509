"""Tasks of the data ingestion service."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from loguru import logger

from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.loads import LoadResult


@repeatable("fetch-bars")
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
