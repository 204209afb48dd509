"""Tasks of analytics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services


@repeatable("record-results")
async def record_results(slot: datetime) -> int:
    """Record the result of every finished trade that has none yet; returns how many."""
    return services().analytics.record_results(slot)


@task(name="publish-performance", cache_policy=NO_CACHE)
async def publish_performance() -> None:
    """Leave the results by pair as a table on the run."""
    summary = services().analytics.performance_summary()
    rows: list[dict[str, Any]] = [
        {
            "pair": pair,
            "trades": result.trades,
            "wins": result.wins,
            "booked dollars": f"{result.total_pnl:.2f}",
            "mean dollars": "" if result.mean_pnl is None else f"{result.mean_pnl:.2f}",
            "win rate": result.win_rate,
        }
        for pair, result in summary.pairs.items()
    ]
    await leave_table("performance", rows, f"{summary.overall.trades} finished trades.")
