"""After the close: Yahoo's hourly bars, as traded and as Yahoo adjusts them, with what was paid and split."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from src.shared.prefect.monitoring import flow_hooks
from src.shared.prefect.states import ended, ended_load, joined
from src.shared.prefect.tasks.strategy_engine_tasks import symbols_to_watch
from src.shared.prefect.tasks.yahoo_tasks import (
    load_company_data,
    load_yahoo_bars,
    publish_company_loads,
    publish_yahoo_bars,
)


@flow(name="yahoo-market-data", retries=1, retry_delay_seconds=300, timeout_seconds=3600, **flow_hooks())
async def yahoo_market_data(
    symbols: list[str] | None = None, start: datetime | None = None
) -> dict[str, Any] | State[Any]:
    """Store missing hourly bars, dividends and splits of the given symbols, or of all that are watched."""
    wanted = symbols or await symbols_to_watch()
    if not wanted:
        return ended("NO_SYMBOLS", "No pair is registered and no symbol was named.")
    adjusted = await load_yahoo_bars(wanted, "split", start)
    raw = await load_yahoo_bars(wanted, "raw", start)
    events = [await load_company_data("dividends", wanted), await load_company_data("splits", wanted)]
    bars = await publish_yahoo_bars({"split": adjusted, "raw": raw})
    return ended_load(joined(bars, await publish_company_loads(events)))
