"""Every Saturday: all pairs of all symbols are looked at, and the best of those that pass the gate are watched."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.discovery_tasks import (
    discovery_end,
    judge_pairs,
    observe_pairs,
    plan_search,
    publish_search,
    scan_universe,
    store_search,
)


@flow(name="weekly-pair-discovery", retries=1, retry_delay_seconds=120, timeout_seconds=7200)
async def weekly_pair_discovery(
    symbols: list[str] | None = None,
    first: date | None = None,
    last: date | None = None,
    observe: int | None = None,
) -> dict[str, Any] | State[Any]:
    """Search once for these bars, symbols and rules, however often this runs; no pair is traded because of it."""
    plan = await plan_search(symbols, first, last, observe)
    if isinstance(plan, str):
        return ended("SKIPPED", plan)
    if not plan.is_stored:
        await store_search(plan, await judge_pairs(plan, await scan_universe(plan)))
    report = await observe_pairs(plan)
    await publish_search(report)
    return discovery_end(report)
