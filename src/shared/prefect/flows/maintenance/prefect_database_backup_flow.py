"""Every Sunday: Prefect's own database, and the deployments as the server holds them."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.maintenance_tasks import (
    dump_database,
    export_deployments,
    find_database,
    publish_backup,
    restore_for_trial,
    retire_backups,
)


@flow(name="prefect-database-backup", retries=1, retry_delay_seconds=60, timeout_seconds=1800)
async def prefect_database_backup() -> dict[str, Any] | State[Any]:
    """Keep the deployments, dump, restore for trial, and only then let old backups go."""
    deployments = await export_deployments()
    if elsewhere := await find_database("prefect"):
        return ended("SKIPPED", elsewhere, {"deployments": str(deployments)})
    made = await dump_database("prefect")
    tried = await restore_for_trial(made)
    removed = await retire_backups("prefect")
    await publish_backup(tried, removed)
    return {
        "deployments": str(deployments),
        "file": str(tried.file),
        "bytes": tried.manifest.bytes,
        "drill": tried.manifest.drill,
        "removed": removed,
    }
