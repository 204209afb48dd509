"""Every week: what the companies are worth, earn and owe, by their key figures."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from src.shared.prefect.monitoring import flow_hooks
from src.shared.prefect.states import ended, ended_load
from src.shared.prefect.tasks.strategy_engine_tasks import symbols_to_watch
from src.shared.prefect.tasks.yahoo_tasks import load_company_data, publish_company_loads


@flow(name="yahoo-key-statistics", retries=1, retry_delay_seconds=300, timeout_seconds=3600, **flow_hooks())
async def yahoo_key_statistics(symbols: list[str] | None = None, force: bool = False) -> dict[str, Any] | State[Any]:
    """Store the figures of today of the given symbols, or of all that are watched, where they are due."""
    wanted = symbols or await symbols_to_watch()
    if not wanted:
        return ended("NO_SYMBOLS", "No pair is registered and no symbol was named.")
    loads = [await load_company_data("statistics", wanted, force=force)]
    return ended_load(await publish_company_loads(loads))
