"""Every night: bars older than the retention go to Parquet files, checked, and then out of the database."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from src.shared.prefect.definition import flow
from src.shared.prefect.states import ended
from src.shared.prefect.tasks.maintenance_tasks import archive_bars, publish_archive, verify_archive


@flow(name="archive-old-data", retries=1, retry_delay_seconds=60, timeout_seconds=3600)
async def archive_old_data() -> dict[str, Any] | State[Any]:
    """Move what is old, read the whole archive, and end DEGRADED when a file of it is not whole."""
    moved = await archive_bars()
    verdicts = await verify_archive()
    await publish_archive(moved, verdicts)
    broken = [each.file for each in verdicts if each.fault]
    summary = {"months": len(moved), "bars": sum(each.rows for each in moved), "broken": broken}
    return ended("DEGRADED", f"Not whole: {', '.join(broken)}.", summary) if broken else summary
