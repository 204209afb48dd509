"""Every hour in session: bars, signals, limits, orders, results."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.domain.errors import NotTheWriter
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended, is_transient_or_busy
from src.shared.prefect.tasks.analytics_tasks import record_results
from src.shared.prefect.tasks.data_ingestion_tasks import fetch_bars
from src.shared.prefect.tasks.execution_tasks import execute_slot, open_gate, read_market_clock
from src.shared.prefect.tasks.risk_management_tasks import review_slot
from src.shared.prefect.tasks.strategy_engine_tasks import (
    evaluate_slot,
    publish_decisions,
    run_instances,
    symbols_to_watch,
)


@flow(name="intraday-pairs-trading", retries=1, retry_delay_seconds=60, timeout_seconds=600)
async def intraday_pairs_trading() -> dict[str, Any] | State[Any]:
    """Trade the last finished slot once, however often this runs for it."""
    clock = await read_market_clock()
    if not clock.is_open:
        return ended("MARKET_CLOSED", f"The market opens at {clock.next_open:%Y-%m-%d %H:%M} UTC.")
    symbols = await symbols_to_watch()
    if not symbols:
        return ended("NO_DECISION", "No pair is registered, and no instance names a symbol.")
    try:
        gate = await open_gate.with_options(retry_condition_fn=is_transient_or_busy)()
        await fetch_bars(symbols, gate.slot)
        try:
            acting: object = await run_instances(gate, acting=True)
        except Exception as error:
            # Its own run says what failed; pairs are traded all the same.
            acting = f"failed: {error}"
        evaluation = await evaluate_slot(gate)
        try:
            review = await review_slot(gate)
        except Exception:
            # Exits are decided before anything else of a review can fail: whatever did, they go on.
            await execute_slot(gate)
            raise
        execution = await execute_slot(gate)
    except NotTheWriter as error:
        return ended("SKIPPED", str(error))
    try:
        observing: object = await run_instances(gate, acting=False)
    except Exception as error:
        # What was traded in the slot is done and has to be recorded.
        observing = f"failed: {error}"
    await record_results(gate.slot)
    await publish_decisions(evaluation, review)
    summary = {
        "slot": gate.slot.isoformat(),
        "signals": len(evaluation.signals),
        "approved": sum(decision.approved for decision in review.decisions),
        "trades": execution.states,
        "instances": {"acting": acting, "others": observing},
    }
    return ended("ALREADY_DONE", "This slot was decided before.", summary) if evaluation.already_done else summary
