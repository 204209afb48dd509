"""The process pools, one per service, and the command by which each starts a flow run.

``python`` is found on the PATH of the worker, which puts its own virtual environment first: the interpreter
that deploys may live on another host. The working directory is the source root.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from src.shared.prefect.config import SOURCE_ROOT

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import WorkPool

POOL_TYPE = "process"

# Pool name → module that boots a flow run.
POOLS: Mapping[str, str] = {
    "data-ingestion-pool": "src.services.data_ingestion.main",
    "strategy-engine-pool": "src.services.strategy_engine.main",
    "execution-pool": "src.services.execution.main",
    "risk-management-pool": "src.services.risk_management.main",
    "analytics-pool": "src.services.analytics.main",
    "notification-pool": "src.services.notification.main",
    "maintenance-pool": "src.services.maintenance.main",
}


def command_of(pool: str) -> str:
    """Return the command by which `pool` starts a flow run."""
    return f"python -m {POOLS[pool]}"


def job_template(pool: str) -> dict[str, Any]:
    """Return Prefect's base job template with the command and working directory of `pool` as defaults."""
    from prefect.workers.process import ProcessWorker

    template = deepcopy(ProcessWorker.get_default_base_job_template())
    properties = template["variables"]["properties"]
    properties["command"]["default"] = command_of(pool)
    properties["working_dir"]["default"] = str(SOURCE_ROOT)
    return template


async def ensure_work_pools(client: PrefectClient, pools: Mapping[str, str] = POOLS) -> list[str]:
    """Create the pools that are missing and update those whose template differs; return the names changed.

    A pool that a person paused, or whose concurrency limit a person set, keeps both. A pool of another type
    (Docker, Kubernetes) is somebody's own choice and left alone.
    """
    present = {pool.name: pool for pool in await client.read_work_pools(limit=200)}
    return [name for name in pools if await _ensure(client, name, present.get(name))]


async def _ensure(client: PrefectClient, name: str, present: WorkPool | None) -> bool:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

    template = job_template(name)
    if present is None:
        await client.create_work_pool(WorkPoolCreate(name=name, type=POOL_TYPE, base_job_template=template))
        return True
    if present.type != POOL_TYPE or present.base_job_template == template:
        return False
    await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    return True
