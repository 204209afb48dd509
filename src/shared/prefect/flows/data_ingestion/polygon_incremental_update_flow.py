"""By hand, or every hour if you like: Polygon.io's bars since each symbol's last finished load."""

from __future__ import annotations

from typing import Any, Literal

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.history_tasks import (
    active_symbols,
    load_history,
    publish_load,
    recent_window,
    what_is_not_set_up,
    windows_to_go_on,
)


@flow(name="polygon-incremental-update", retries=2, retry_delay_seconds=60, timeout_seconds=3600)
async def polygon_incremental_update(
    symbols: list[str] | None = None, timeframe: Literal["1Hour", "1Day"] = "1Hour", first_days: int = 30
) -> dict[str, Any] | State[Any]:
    """Store what came since the last finished load; a symbol that never was loaded begins `first_days` ago."""
    if missing := await what_is_not_set_up("polygon"):
        return ended("NO_KEY", missing)
    wanted = symbols or await active_symbols()
    if not wanted:
        return ended("SKIPPED", "No symbol is active: none was loaded before, and no pair is registered.")
    groups = await windows_to_go_on("polygon", wanted, timeframe, await recent_window(first_days))
    loads = [await load_history("polygon", names, window, timeframe) for window, names in groups]
    summary, failures = await publish_load("polygon", {timeframe: loads})
    return ended("PARTIAL", " ".join(failures), summary) if failures else summary
