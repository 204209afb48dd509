"""Four times a day: our intents, fills and books against the broker's word."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.domain.errors import NotTheWriter
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import open_gate, publish_reconciliation


@flow(name="reconcile-trades", retries=1, retry_delay_seconds=60, timeout_seconds=300)
async def reconcile_trades() -> dict[str, Any] | State[Any]:
    """Carry on what is unfinished, compare, leave what differs as a table; differences end DEGRADED."""
    try:
        gate = await open_gate()
    except NotTheWriter as error:
        return ended("SKIPPED", str(error))
    await publish_reconciliation(gate)
    summary = {"slot": gate.slot.isoformat(), "reconciled": gate.reconciled}
    return summary if gate.reconciled else ended("DEGRADED", "; ".join(gate.differences), summary)
