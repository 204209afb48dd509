"""By hand or after an event: what about the portfolio a person should know."""

from __future__ import annotations

from typing import Any

from src.shared.messages.ops import Severity
from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.execution_tasks import read_market_clock
from src.shared.prefect.tasks.risk_management_tasks import look_at_portfolio, raise_alerts


@flow(name="generate-risk-alerts", retries=2, retry_delay_seconds=10, timeout_seconds=120)
async def generate_risk_alerts(least: Severity = "warning") -> dict[str, Any]:
    """Tell, each once a day, what is at least this grave; a run that finds nothing new tells nothing."""
    look = await look_at_portfolio(await read_market_clock())
    alerts = await raise_alerts(look, least)
    return {"told": [alert.title for alert in alerts], "state": look.portfolio.standing.state.value}
