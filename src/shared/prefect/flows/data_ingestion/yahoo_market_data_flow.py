"""After the close: Yahoo's hourly bars, as traded and as Yahoo adjusts them, with what was paid and split."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.domain.bars import HOURLY
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended, ended_load, joined
from src.shared.prefect.tasks.history_tasks import active_symbols, load_history, publish_load, recent_window
from src.shared.prefect.tasks.yahoo_tasks import load_company_data, publish_company_loads


@flow(name="yahoo-market-data", retries=1, retry_delay_seconds=300, timeout_seconds=3600)
async def yahoo_market_data(symbols: list[str] | None = None, days: int = 729) -> dict[str, Any] | State[Any]:
    """Store what is missing of the last days (Yahoo has hours of 730), of the given symbols or of all active ones."""
    wanted = symbols or await active_symbols()
    if not wanted:
        return ended("SKIPPED", "No symbol is active: none was loaded before, and no pair is registered.")
    window = await recent_window(days)
    adjusted = await load_history("yahoo", wanted, window, HOURLY, "split")
    raw = await load_history("yahoo", wanted, window, HOURLY, "raw")
    events = [await load_company_data("dividends", wanted), await load_company_data("splits", wanted)]
    bars, _ = await publish_load("yahoo", {"split": [adjusted], "raw": [raw]})
    return ended_load(joined(bars, await publish_company_loads(events)))
