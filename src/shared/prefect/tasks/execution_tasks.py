"""Tasks of the execution service. Repeating any of them is harmless: intents and slots have unique keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loguru import logger
from prefect import task
from prefect.cache_policies import NO_CACHE

from src.shared.domain.errors import InputInvalid
from src.shared.domain.ids import slot_key
from src.shared.domain.quantities import plain
from src.shared.prefect.monitoring import leave_table
from src.shared.prefect.states import is_transient_or_busy
from src.shared.prefect.tasks.repeatable import repeatable
from src.shared.prefect.tasks.wiring import services

if TYPE_CHECKING:
    from src.services.execution.use_cases.cycle import ExecutionSummary, Gate
    from src.services.execution.use_cases.desk import Snapshot
    from src.shared.domain.orders import MarketClock


@repeatable("read-market-clock")
async def read_market_clock() -> MarketClock:
    """Read market time from the broker."""
    return services().execution.cycle.market_clock()


@repeatable("open-gate")
async def open_gate() -> Gate:
    """Carry on unfinished trades and compare our books with the broker's."""
    return services().execution.cycle.open_gate()


@repeatable("execute-slot", when=is_transient_or_busy)
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


@task(name="validate-slot", cache_policy=NO_CACHE)
async def validate_slot(gate: Gate, slot: datetime | None) -> Gate:
    """Return the gate of the slot that is meant: the last finished one, or one before it by name.

    Raises:
        InputInvalid: the named slot is not the end of a bar, or lies ahead.
    """
    if slot is None or slot == gate.slot:
        return gate
    if slot.tzinfo is None or slot > gate.slot:
        raise InputInvalid(f"slot {slot.isoformat()} has no zone or lies after {slot_key(gate.slot)}, the last one.")
    if services().execution.cycle.calendar.last_slot(slot) != slot:
        raise InputInvalid(f"slot {slot_key(slot)} is not the end of an hourly bar.")
    return replace(gate, slot=slot)


@repeatable("pending-approvals")
async def pending_approvals(gate: Gate) -> list[str]:
    """List the pairs whose approvals of the slot are not acted on, or not to their end."""
    return services().execution.desk.pending_approvals(gate.slot)


@repeatable("is-halted")
async def is_halted() -> bool:
    """Say whether a person has stopped everything."""
    return services().execution.desk.is_halted()


@task(name="publish-trades", cache_policy=NO_CACHE)
async def publish_trades(gate: Gate) -> None:
    """Leave the trades that were opened or closed in the slot as a table on the run."""
    rows: list[dict[str, Any]] = [
        {
            "pair": line.trade.pair_id,
            "state": line.trade.state.value,
            "opened": slot_key(line.trade.slot),
            "held 1": plain(line.held_1),
            "held 2": plain(line.held_2),
            "booked dollars": "" if line.trade.realized_pnl is None else f"{line.trade.realized_pnl:.2f}",
            "why": line.trade.close_reason or "",
        }
        for line in services().look.trades(last=500, slot=gate.slot)
    ]
    await leave_table("slot-trades", rows, f"Pair trades of slot {gate.slot:%Y-%m-%d %H:%M} UTC.")


@repeatable("record-positions")
async def record_positions() -> Snapshot:
    """Store what is held, once for each quarter of an hour."""
    return services().execution.desk.record_positions()


@task(name="publish-positions", cache_policy=NO_CACHE)
async def publish_positions(snapshot: Snapshot) -> None:
    """Leave what is held, ours and others', with its unrealised result as a table on the run."""
    rows: list[dict[str, Any]] = [
        {
            "symbol": each.symbol,
            "ours": plain(each.ours),
            "broker": "" if each.broker is None else plain(each.broker),
            "external": "" if each.external is None else plain(each.external),
            "price": "" if each.price is None else f"{each.price:.2f}",
            "unrealised dollars": "" if each.unrealized_pnl is None else f"{each.unrealized_pnl:.2f}",
            "pairs": ", ".join(holding.pair_id for holding in each.holdings),
        }
        for each in snapshot.positions
    ]
    await leave_table("positions", rows, f"Positions at {snapshot.moment:%Y-%m-%d %H:%M} UTC.")
