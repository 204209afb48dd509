"""After the session: pairs that have decayed are demoted, and those that may be are promoted."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.strategy_engine_tasks import publish_review, review_lives


@flow(name="review-pairs", retries=1, retry_delay_seconds=60, timeout_seconds=900)
async def review_pairs() -> dict[str, Any] | State[Any]:
    """Look at every watched pair again: its record, its edge, its cointegration, what its companies did."""
    clock = await read_market_clock()
    reviewed = await review_lives(clock)
    await publish_review(reviewed)
    moved = {each.pair_id: f"{each.before.value} → {each.after.value}" for each in reviewed if each.has_moved}
    summary = {"reviewed": len(reviewed), "moved": moved}
    return summary if reviewed else ended("NO_DECISION", "No pair is watched.", summary)
