"""Instances of strategies at work, where `tradewinds up` does not run them: one run leads, the next follows it."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.strategy_engine_tasks import lead_strategy_engine


@flow(name="serve-strategy-engine")
async def serve_strategy_engine(minutes: float = 55.0) -> dict[str, Any] | State[Any]:
    """Run instances on bars and ticks as they come, for some minutes; SKIPPED where an engine does so already."""
    if not await lead_strategy_engine(minutes):
        return ended("SKIPPED", "Another engine runs the instances.")
    return {"minutes": minutes}
