"""Every week: what the companies are worth, earn and owe, by their key figures, and when they report next."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended, ended_load
from src.shared.prefect.tasks.history_tasks import active_symbols
from src.shared.prefect.tasks.yahoo_tasks import load_company_data, publish_company_loads


@flow(name="yahoo-key-statistics", retries=1, retry_delay_seconds=300, timeout_seconds=3600)
async def yahoo_key_statistics(symbols: list[str] | None = None, force: bool = False) -> dict[str, Any] | State[Any]:
    """Store figures of today and days of earnings of the given symbols, or of all that are active, where due."""
    wanted = symbols or await active_symbols()
    if not wanted:
        return ended("SKIPPED", "No symbol is active: none was loaded before, and no pair is registered.")
    loads = [
        await load_company_data("statistics", wanted, force=force),
        await load_company_data("earnings", wanted, force=force),
    ]
    return ended_load(await publish_company_loads(loads))
