"""Tasks of the execution service. Repeating any of them is harmless: intents and slots have unique keys."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.states import is_transient, is_transient_or_busy
from src.shared.prefect.tasks.wiring import RETRY_DELAYS, services

if TYPE_CHECKING:
    from src.services.execution.use_cases.cycle import ExecutionSummary, Gate
    from src.shared.domain.orders import MarketClock


@task(
    name="read-market-clock",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_transient,
)
async def read_market_clock() -> MarketClock:
    """Read market time from the broker."""
    return services().execution.cycle.market_clock()


@task(
    name="open-gate",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_transient,
)
async def open_gate() -> Gate:
    """Carry on unfinished trades and compare our books with the broker's."""
    return services().execution.cycle.open_gate()


@task(
    name="execute-slot",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_transient_or_busy,
)
async def execute_slot(gate: Gate) -> ExecutionSummary:
    """Act on what risk approved."""
    summary = services().execution.cycle.execute_slot(gate)
    trades = ", ".join(f"{count} {state}" for state, count in sorted(summary.states.items())) or "none"
    logger.info("Pair trades of this cycle: {}.", trades)
    return summary


@task(name="publish-reconciliation", cache_policy=NO_CACHE)
async def publish_reconciliation(gate: Gate) -> None:
    """Leave what differs as a table on the run."""
    rows: list[dict[str, Any]] = [{"difference": text} for text in gate.differences] or [{"difference": "none"}]
    await leave_table("reconciliation", rows, f"Our books against the broker's, slot {gate.slot:%Y-%m-%d %H:%M} UTC.")


@task(name="last-slot", cache_policy=NO_CACHE)
async def last_slot(clock: MarketClock) -> datetime:
    """Name the end of the last bar that is finished by the broker's clock."""
    return services().execution.cycle.calendar.last_slot(clock.now)
