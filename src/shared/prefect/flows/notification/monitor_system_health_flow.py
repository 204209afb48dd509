"""Every few minutes: is everything there that Tradewinds stands on?"""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.notification_tasks import check_dependencies, publish_health


@flow(name="monitor-system-health", timeout_seconds=60)
async def monitor_system_health() -> dict[str, Any] | State[Any]:
    """Ask each dependency, leave a table, and end DEGRADED when one is away."""
    rows = await check_dependencies()
    await publish_health(rows)
    failing = [row["dependency"] for row in rows if not row["healthy"]]
    summary = {"checked": len(rows), "failing": failing}
    return ended("DEGRADED", f"Not well: {', '.join(failing)}.", summary) if failing else summary
