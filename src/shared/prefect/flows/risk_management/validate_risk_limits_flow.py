"""By hand: how much of every limit is used now."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.risk_management_tasks import look_at_portfolio, publish_usage


@flow(name="validate-risk-limits", retries=1, retry_delay_seconds=10, timeout_seconds=120)
async def validate_risk_limits() -> dict[str, Any] | State[Any]:
    """Leave a table of what is used and allowed, and end DEGRADED when a limit is breached."""
    look = await look_at_portfolio(await read_market_clock())
    await publish_usage(look)
    breached = [usage.name for usage in look.breached]
    summary = {"checked": len(look.usages), "breached": breached, "state": look.portfolio.standing.state.value}
    return ended("DEGRADED", f"Breached: {', '.join(breached)}.", summary) if breached else summary
