"""Every quarter of an hour in session: exposure, losses, metrics, and the risk state they call for."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.risk_management_tasks import (
    monitor_portfolio,
    publish_exposure,
    publish_usage,
    raise_alerts,
)


@flow(name="monitor-portfolio-risk", retries=1, retry_delay_seconds=30, timeout_seconds=240)
async def monitor_portfolio_risk() -> dict[str, Any] | State[Any]:
    """Keep a reading of the portfolio, reduce the account when a loss calls for it, and tell what is wrong."""
    clock = await read_market_clock()
    if not clock.is_open:
        return ended("MARKET_CLOSED", f"The market opens at {clock.next_open:%Y-%m-%d %H:%M} UTC.")
    look = await monitor_portfolio(clock)
    alerts = await raise_alerts(look)
    await publish_usage(look)
    await publish_exposure(look)
    breached = [usage.name for usage in look.breached]
    summary = {"state": look.portfolio.standing.state.value, "breached": breached, "alerts": len(alerts)}
    return ended("DEGRADED", f"Breached: {', '.join(breached)}.", summary) if breached else summary
