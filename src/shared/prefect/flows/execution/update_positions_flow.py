"""Every quarter of an hour in session: what is held, and what it is worth."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import publish_positions, read_market_clock, record_positions


@flow(name="update-positions", retries=1, retry_delay_seconds=30, timeout_seconds=120)
async def update_positions() -> dict[str, Any] | State[Any]:
    """Store positions and their unrealised result once for each quarter of an hour, and leave them as a table."""
    clock = await read_market_clock()
    if not clock.is_open:
        return ended("MARKET_CLOSED", f"The market opens at {clock.next_open:%Y-%m-%d %H:%M} UTC.")
    snapshot = await record_positions()
    await publish_positions(snapshot)
    summary = {
        "moment": snapshot.moment.isoformat(),
        "symbols": len(snapshot.positions),
        "external": sum(1 for each in snapshot.positions if each.external),
    }
    if snapshot.positions and not snapshot.stored:
        return ended("ALREADY_DONE", "This quarter of an hour was stored before.", summary)
    return summary
