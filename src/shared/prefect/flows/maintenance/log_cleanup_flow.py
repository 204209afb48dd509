"""Every night: old log files go."""

from __future__ import annotations

from typing import Any

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.maintenance_tasks import publish_clean_up, remove_old_logs


@flow(name="log-cleanup", retries=1, retry_delay_seconds=60, timeout_seconds=600)
async def log_cleanup() -> dict[str, Any]:
    """Remove the days' logs of the state folder that are older than they are kept."""
    done = await remove_old_logs()
    await publish_clean_up(done)
    return {"files": len(done.files), "bytes": done.bytes}
