"""Every evening: Polygon.io's days and hours of the last sessions, and what it knows of companies."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.domain.bars import DAILY, HOURLY
from src.shared.domain.errors import Refused, Transient
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.data_ingestion_tasks import judge_series, publish_verdicts
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.history_tasks import (
    active_symbols,
    load_history,
    load_reference,
    publish_load,
    recent_window,
    what_is_not_set_up,
)


@flow(name="polygon-daily-ingestion", retries=2, retry_delay_seconds=60, timeout_seconds=3600)
async def polygon_daily_ingestion(symbols: list[str] | None = None, days: int = 7) -> dict[str, Any] | State[Any]:
    """Store what is missing of the last days, for the given symbols or for all that are active, and judge it."""
    if missing := await what_is_not_set_up("polygon"):
        return ended("NO_KEY", missing)
    wanted = symbols or await active_symbols()
    if not wanted:
        return ended("SKIPPED", "No symbol is active: none was loaded before, and no pair is registered.")
    window = await recent_window(days)
    daily = await load_history("polygon", wanted, window, DAILY)
    hourly = await load_history("polygon", wanted, window, HOURLY)
    summary, failures = await publish_load("polygon", {DAILY: [daily], HOURLY: [hourly]})
    try:
        reference = await load_reference(wanted, window[0])
        failures += [f"{each.dataset}s: {each.failure}" for each in reference.failed]
    except (Transient, Refused) as error:
        failures += [f"Listings, splits and dividends: {error}"]
    await publish_verdicts(await judge_series(wanted, await read_market_clock()))
    return ended("PARTIAL", " ".join(failures), summary) if failures else summary
