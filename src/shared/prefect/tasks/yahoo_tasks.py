"""Tasks of data ingestion that ask Yahoo."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table, progress
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.company import CompanyLoad

DatasetName = Literal[
    "information", "officers", "statistics", "statements", "holders", "dividends", "splits", "earnings"
]


@repeatable("load-company-data")
async def load_company_data(dataset: DatasetName, symbols: list[str], *, force: bool = False) -> CompanyLoad:
    """Bring in one dataset of those symbols where it is due."""
    from src.services.data_ingestion.domain.company import CompanyDataset

    companies = services().companies
    what = f"{dataset} of {len(symbols)} symbols"
    async with progress(f"yahoo-{dataset}-progress", len(symbols), what) as step:
        load = await asyncio.to_thread(
            companies.load, CompanyDataset(dataset), symbols, force=force, progress=lambda *_: step()
        )
    logger.info(
        "Yahoo, {}: {} of {} symbols were due, {} rows changed, {} failed.",
        dataset,
        len(load.asked),
        len(symbols),
        load.rows_changed,
        len(load.failed),
    )
    return load


@task(name="publish-company-loads", cache_policy=NO_CACHE)
async def publish_company_loads(loads: Sequence[CompanyLoad]) -> dict[str, Any]:
    """Leave what came of each symbol as a table on the run; returns what failed and how much changed."""
    rows: list[dict[str, Any]] = [
        {
            "symbol": each.symbol,
            "data": each.dataset.value,
            "outcome": each.outcome,
            "new": each.stored.new,
            "restated": each.stored.restated,
            "withdrawn": each.stored.withdrawn,
            "unread": each.unread,
            "why": each.reason,
        }
        for load in loads
        for each in load.outcomes
    ]
    await leave_table("yahoo-company-data", rows, "What Yahoo said of companies.")
    return {
        "symbols": len({row["symbol"] for row in rows}),
        "asked": sum(len(load.asked) for load in loads),
        "rows_changed": sum(load.rows_changed for load in loads),
        "failed": sorted({each.symbol for load in loads for each in load.failed}),
    }
