"""Tasks of the notification service."""

from __future__ import annotations

from typing import Any

from prefect import task

from src.config.settings import load_settings
from src.shared.prefect.monitoring import leave_table

PROBE_TIMEOUT_SECONDS = 5.0


@task(name="check-dependencies")
async def check_dependencies() -> list[dict[str, Any]]:
    """Ask every dependency whether it is well; one row each, a dead one included."""
    from src.services.notification.bootstrap import build_probes
    from src.services.notification.use_cases import check_system_health

    report = await check_system_health(build_probes(load_settings()), timeout_seconds=PROBE_TIMEOUT_SECONDS)
    return [
        {
            "dependency": result.name,
            "healthy": result.healthy,
            "latency_ms": round(result.latency_ms, 1),
            "detail": result.detail,
            "checked_at": report.checked_at.isoformat(timespec="seconds"),
        }
        for result in report.results
    ]


@task(name="publish-health")
async def publish_health(rows: list[dict[str, Any]]) -> None:
    """Leave the rows as a table on the run."""
    await leave_table("system-health", rows, "What Tradewinds stands on, as this run found it.")
