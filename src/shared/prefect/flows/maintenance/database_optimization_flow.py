"""Every Sunday: statistics, dead rows, and room for the months ahead."""

from __future__ import annotations

from typing import Any

from src.shared.prefect.definition import flow
from src.shared.prefect.tasks.maintenance_tasks import optimise_database, publish_tables


@flow(name="database-optimization", retries=1, retry_delay_seconds=60, timeout_seconds=3600)
async def database_optimization() -> dict[str, Any]:
    """Analyse every table, vacuum those with many dead rows, make the next months' partitions."""
    done = await optimise_database()
    await publish_tables(done)
    return {
        "tables": len(done.tables),
        "vacuumed": [each.before.name for each in done.tables if each.vacuumed],
        "left_out": [each.before.name for each in done.tables if each.refused],
        "months_added": done.months_added,
    }
