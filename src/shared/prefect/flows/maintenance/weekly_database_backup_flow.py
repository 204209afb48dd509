"""Every Sunday: all of the trading database into a file that was restored for trial."""

from __future__ import annotations

from typing import Any

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.maintenance_tasks import (
    dump_database,
    publish_backup,
    restore_for_trial,
    retire_backups,
)


@flow(name="weekly-database-backup", retries=1, retry_delay_seconds=60, timeout_seconds=1800)
async def weekly_database_backup() -> dict[str, Any]:
    """Dump, restore for trial, and only then let old backups go."""
    made = await dump_database("trading")
    tried = await restore_for_trial(made)
    removed = await retire_backups("trading")
    await publish_backup(tried, removed)
    return {"file": str(tried.file), "bytes": tried.manifest.bytes, "drill": tried.manifest.drill, "removed": removed}
