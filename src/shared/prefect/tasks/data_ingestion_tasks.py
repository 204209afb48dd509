"""Tasks of the data ingestion service."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.loads import LoadResult
    from src.services.data_ingestion.use_cases.quality import Judged
    from src.shared.domain.orders import MarketClock


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


@repeatable("refresh-listings")
async def refresh_listings(symbols: list[str]) -> int:
    """Store what the broker says of symbols now; return of how many it knows."""
    return services().ingestion.refresh_symbols(symbols) if symbols else 0


@repeatable("close-lost-loads")
async def close_lost_loads() -> None:
    """Say in the ledger of loads which were killed."""
    if lost := services().quality.close_lost_loads():
        logger.warning("{} loads began a day ago or earlier and never ended: their processes were killed.", lost)


@repeatable("judge-series")
async def judge_series(symbols: list[str], clock: MarketClock) -> list[Judged]:
    """Judge the stored series of the symbols, or all of them, and keep what is new about them."""
    judged = services().quality.validate(symbols, clock.now)
    for each in judged:
        for fault in each.faults:
            level = "ERROR" if fault.blocks and each.is_traded else "WARNING"
            logger.log(level, "{}: {} ({}, {})", each.series, fault.reason, fault.rule, fault.severity)
    return judged


@task(name="publish-verdicts", cache_policy=NO_CACHE)
async def publish_verdicts(judged: list[Judged]) -> None:
    """Leave what was found as a table on the run, a row for each rule that a series breaks."""
    rows = [
        {
            "series": str(each.series),
            "severity": fault.severity,
            "rule": fault.rule,
            "reason": fault.reason,
            "numbers": ", ".join(f"{name} {value}" for name, value in fault.numbers.items()),
        }
        for each in judged
        for fault in each.faults
    ]
    await leave_table("data-quality", rows, f"{len(judged)} series judged; what is not listed is sound.")
