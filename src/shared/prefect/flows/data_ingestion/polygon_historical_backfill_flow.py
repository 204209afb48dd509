"""By hand: Polygon.io's bars of months or years; a run that was ended goes on where it was."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from prefect.client.schemas.objects import State

from src.shared.domain.errors import SettingsInvalid
from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.history_tasks import (
    active_symbols,
    load_history,
    publish_load,
    what_is_not_set_up,
    window_of_the_plan,
)


@flow(name="polygon-historical-backfill", retries=2, retry_delay_seconds=60)
async def polygon_historical_backfill(
    symbols: list[str] | None = None,
    start: date | None = None,
    end: date | None = None,
    timeframe: Literal["1Hour", "1Day"] = "1Hour",
    adjustment: Literal["raw", "split"] = "split",
    resume: bool = True,
) -> dict[str, Any] | State[Any]:
    """Store the bars from one day to another, or all that the plan has; without resume all is asked anew."""
    if missing := await what_is_not_set_up("polygon"):
        raise SettingsInvalid(missing)
    wanted = symbols or await active_symbols()
    if not wanted:
        return ended("SKIPPED", "No symbol is active: name some, as -p 'symbols=[\"SPY\"]'.")
    window = await window_of_the_plan(start, end)
    load = await load_history("polygon", wanted, window, timeframe, adjustment, resume)
    summary, failures = await publish_load("polygon", {timeframe: [load]})
    return ended("PARTIAL", " ".join(failures), summary) if failures else summary
