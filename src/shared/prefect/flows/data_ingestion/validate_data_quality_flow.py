"""Each night: every stored series of bars judged, so that nothing is traded on bars that are not sound."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.data_ingestion_tasks import (
    close_lost_loads,
    judge_series,
    publish_verdicts,
    refresh_listings,
)
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.strategy_engine_tasks import symbols_to_watch


@flow(name="validate-data-quality", retries=2, retry_delay_seconds=60, timeout_seconds=1800)
async def validate_data_quality(symbols: list[str] | None = None) -> State[Any]:
    """Judge the stored series of the symbols, or all there are, and end SOUND, or BLOCKED with what is not sound."""
    clock = await read_market_clock()
    await refresh_listings(symbols or await symbols_to_watch())
    await close_lost_loads()
    judged = await judge_series(symbols or [], clock)
    await publish_verdicts(judged)
    blocked = [str(each.series) for each in judged if each.blocking]
    summary = {"series": len(judged), "blocked": blocked, "new": sum(each.written for each in judged)}
    if blocked:
        return ended("BLOCKED", f"Not to be traded on: {', '.join(blocked)}.", summary)
    return ended("SOUND", f"{len(judged)} series keep every rule that blocks.", summary)
