"""Every few minutes in session: carry unfinished trades on, to open, to closed, or out."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.domain.errors import NotTheWriter
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import open_gate, read_market_clock


@flow(name="manage-orders", retries=2, retry_delay_seconds=10, timeout_seconds=240)
async def manage_orders() -> dict[str, Any] | State[Any]:
    """Look at working orders, cancel what is late, unwind what is not whole."""
    clock = await read_market_clock()
    if not clock.is_open:
        return ended("MARKET_CLOSED", f"The market opens at {clock.next_open:%Y-%m-%d %H:%M} UTC.")
    try:
        gate = await open_gate()
    except NotTheWriter as error:
        return ended("SKIPPED", str(error))
    return {"slot": gate.slot.isoformat(), "reconciled": gate.reconciled}
