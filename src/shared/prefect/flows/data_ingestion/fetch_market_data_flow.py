"""Every hour in session: the finished bars of every symbol that is watched."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.data_ingestion_tasks import fetch_bars
from src.shared.prefect.tasks.execution_tasks import last_slot, read_market_clock
from src.shared.prefect.tasks.strategy_engine_tasks import symbols_to_watch


@flow(name="fetch-market-data", retries=3, retry_delay_seconds=60, timeout_seconds=600)
async def fetch_market_data(symbols: list[str] | None = None) -> dict[str, Any] | State[Any]:
    """Store what is missing up to the last finished bar, for the given symbols or for all that are watched."""
    wanted = symbols or await symbols_to_watch()
    if not wanted:
        return ended("NO_DECISION", "No pair is registered and no symbol was named.")
    slot = await last_slot(await read_market_clock())
    load = await fetch_bars(wanted, slot)
    return {
        "slot": slot.isoformat(),
        "symbols": len(wanted),
        "written": load.rows_written,
        "rejected": load.rows_rejected,
        "missing": load.rows_missing,
    }
