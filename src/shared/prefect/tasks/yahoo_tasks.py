"""Tasks of data ingestion that ask Yahoo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.progress import Progress, with_progress
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.data_ingestion.domain.company import CompanyLoad
    from src.services.data_ingestion.domain.history import HistoryResult

CompanyDataset = Literal["information", "officers", "statistics", "statements", "holders", "dividends", "splits"]


@repeatable("load-company-data")
async def load_company_data(dataset: CompanyDataset, symbols: list[str], *, force: bool = False) -> CompanyLoad:
    """Bring in one dataset of those symbols where it is due."""
    from src.services.data_ingestion.domain.company import Dataset

    companies = services().companies

    def work(progress: Progress) -> CompanyLoad:
        return companies.load(Dataset(dataset), symbols, force=force, progress=progress.step)

    load = await with_progress(
        f"yahoo-{dataset}-progress", f"{dataset} of {len(symbols)} symbols", len(symbols), work
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


@repeatable("load-yahoo-bars")
async def load_yahoo_bars(
    symbols: list[str], adjustment: Literal["raw", "split", "all"], start: datetime | None = None
) -> HistoryResult:
    """Bring in the hourly bars that are missing since `start`; without it, since Yahoo has hours at all."""
    wired = services()
    source, end = wired.bar_source("yahoo"), wired.broker.clock().now
    since = start or end - timedelta(days=wired.settings.yahoo.hourly_days)

    def work(progress: Progress) -> HistoryResult:
        return wired.history.run(
            source,
            symbols,
            since,
            end,
            adjustment=adjustment,
            progress=progress.step,
            workers=wired.settings.yahoo.symbols_at_once,
        )

    told = f"hourly bars ({adjustment}) of {len(symbols)} symbols"
    result = await with_progress(f"yahoo-bars-{adjustment}-progress", told, len(symbols), work)
    logger.info("Yahoo, {}: {} rows written, {} failed.", told, result.rows_written, len(result.failed))
    return result


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


@task(name="publish-yahoo-bars", cache_policy=NO_CACHE)
async def publish_yahoo_bars(results: dict[str, HistoryResult]) -> dict[str, Any]:
    """Leave what came of each symbol and adjustment as a table on the run; returns what failed and the rows."""
    rows: list[dict[str, Any]] = [
        {
            "symbol": each.symbol,
            "adjustment": adjustment,
            "new": each.new,
            "unchanged": each.unchanged,
            "restated": each.restated,
            "rejected": each.rejected,
            "missing": each.missing,
            "failure": each.failure or "",
        }
        for adjustment, result in results.items()
        for each in result.outcomes
    ]
    await leave_table("yahoo-market-data", rows, "Hourly bars from Yahoo.")
    return {
        "symbols": len({row["symbol"] for row in rows}),
        "rows_written": sum(result.rows_written for result in results.values()),
        "rejected": sum(result.total("rejected") for result in results.values()),
        "missing": sum(result.total("missing") for result in results.values()),
        "failed": sorted({each.symbol for result in results.values() for each in result.failed}),
    }
