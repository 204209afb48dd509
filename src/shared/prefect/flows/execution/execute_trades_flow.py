"""By hand or after an approval: act on what is approved in a slot."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import State

from src.shared.domain.errors import NotTheWriter
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import (
    execute_slot,
    is_halted,
    open_gate,
    pending_approvals,
    publish_trades,
    read_market_clock,
    validate_slot,
)
from src.shared.prefect.tasks.risk_management_tasks import review_slot


@flow(name="execute-trades", retries=3, retry_delay_seconds=30, timeout_seconds=600)
async def execute_trades(slot: datetime | None = None) -> dict[str, Any] | State[Any]:
    """Reconcile, decide what is undecided in the last slot, trade; of an earlier slot only what was approved in it.

    However often it runs, beside whatever else: each approval is acted on once.
    """
    clock = await read_market_clock()
    if not clock.is_open:
        return ended("MARKET_CLOSED", f"The market opens at {clock.next_open:%Y-%m-%d %H:%M} UTC.")
    if await is_halted():
        return ended("HALTED", "A person has stopped everything: `tradewinds resume` ends it.")
    try:
        newest = await open_gate()
        gate = await validate_slot(newest, slot)
        if gate.slot == newest.slot:
            try:
                await review_slot(gate)
            except Exception:
                # Exits are decided before anything else of a review can fail: whatever did, they go on.
                await execute_slot(gate)
                raise
        if not (pending := await pending_approvals(gate)):
            return ended(
                "ALREADY_DONE", "Nothing is approved that was not acted on.", {"slot": gate.slot.isoformat()}
            )
        execution = await execute_slot(gate)
    except NotTheWriter as error:
        return ended("SKIPPED", str(error))
    await publish_trades(gate)
    return {"slot": gate.slot.isoformat(), "acted on": pending, "trades": execution.states}
