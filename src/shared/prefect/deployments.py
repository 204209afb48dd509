"""Registers what prefect.yaml lists, again and again with the same result.

* What a person paused or resumed on the server, a deployment or one of its schedules, stays as that person
  left it: the file says how a deployment begins. (Prefect itself would resume everything at each deploy.)
* Deployments that carry our tag and are no longer listed are removed when asked to.
* A server whose scheduler is dead looks healthy and runs nothing; so the runs it should have scheduled are
  looked for.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from src.config.settings import Settings
from src.shared.domain.errors import InputInvalid
from src.shared.prefect.config import SOURCE_ROOT, prefect_settings
from src.shared.prefect.connection import require_server
from src.shared.prefect.table import MANAGED_TAG, DeploymentRow, read_table
from src.shared.prefect.work_pools import ensure_work_pools

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.schedules import Schedule

SCHEDULER_WAIT_SECONDS = 30.0
_REGISTERED_AT_ONCE = 4

Action = Literal["created", "updated", "removed"]
Scheduled = Literal["by hand", "paused", "yes", "missing", "not asked"]


@dataclass(frozen=True)
class DeploymentOutcome:
    """What became of one deployment; `scheduled` says whether the server plans its runs."""

    name: str
    pool: str
    action: Action
    paused: bool = False
    paused_schedules: tuple[str, ...] = ()
    scheduled: Scheduled = "not asked"
    id: UUID | None = None


def deploy(
    settings: Settings,
    *,
    only: Sequence[str] | None = None,
    prune: bool = False,
    dry_run: bool = False,
    rows: Sequence[DeploymentRow] | None = None,
) -> list[DeploymentOutcome]:
    """Do what `adeploy` does, from code that is not asynchronous."""
    return asyncio.run(adeploy(settings, only=only, prune=prune, dry_run=dry_run, rows=rows))


async def adeploy(
    settings: Settings,
    *,
    only: Sequence[str] | None = None,
    prune: bool = False,
    dry_run: bool = False,
    rows: Sequence[DeploymentRow] | None = None,
) -> list[DeploymentOutcome]:
    """Register the listed deployments on the server and say what became of each.

    Args:
        only: names to deploy; everything when None.
        prune: also remove deployments with our tag that the list no longer holds.
        dry_run: load every flow and say what would happen; change nothing.
        rows: the list to use instead of prefect.yaml.

    Raises:
        InputInvalid: prefect.yaml or a name in `only` is wrong, or a flow does not load. Nothing was changed.
        Unreachable: the server does not answer.
    """
    listed = list(rows) if rows is not None else read_table().deployments
    if not settings.orchestrator.schedules_active:
        listed = [row.asleep() for row in listed]
    chosen = _chosen(listed, only)
    require_server(settings)
    with prefect_settings(settings):
        from prefect.client.orchestration import get_client

        async with get_client() as client:
            return await _deploy(client, listed, chosen, prune=prune, dry_run=dry_run)


async def _deploy(
    client: PrefectClient,
    listed: Sequence[DeploymentRow],
    chosen: Sequence[DeploymentRow],
    *,
    prune: bool,
    dry_run: bool,
) -> list[DeploymentOutcome]:
    found = await _managed(client)
    present = {each.name: each for each in found}
    flows = [await _load(row) for row in chosen]
    outcomes = [_outcome(row, present.get(row.name)) for row in chosen]
    names = {row.name for row in listed}
    stale = [each for each in found if prune and each.name not in names]
    removed = [DeploymentOutcome(each.name, each.work_pool_name or "", "removed") for each in stale]
    if dry_run:
        return [*outcomes, *removed]
    await ensure_work_pools(client)
    deployed = await _register_all(chosen, flows, outcomes)
    for each in stale:
        await client.delete_deployment(each.id)
    return [*await _with_schedules(client, chosen, deployed), *removed]


def _chosen(listed: Sequence[DeploymentRow], only: Sequence[str] | None) -> list[DeploymentRow]:
    if only is None:
        return list(listed)
    if unknown := sorted(set(only) - {row.name for row in listed}):
        raise InputInvalid(f"prefect.yaml lists no deployment {', '.join(unknown)}.")
    return [row for row in listed if row.name in only]


async def _managed(client: PrefectClient) -> list[DeploymentResponse]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[MANAGED_TAG]))
    found: list[DeploymentResponse] = []
    while page := await client.read_deployments(deployment_filter=ours, limit=200, offset=len(found)):
        found.extend(page)
    return found


async def _load(row: DeploymentRow) -> Any:
    from prefect import Flow

    try:
        return await Flow.afrom_source(source=str(SOURCE_ROOT), entrypoint=row.entrypoint)
    except Exception as error:
        raise InputInvalid(f"{row.name}: {row.entrypoint} does not load: {_first_cause(error)}") from error


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _outcome(row: DeploymentRow, present: DeploymentResponse | None) -> DeploymentOutcome:
    if present is None:
        asleep = tuple(each.slug for each in row.schedules if not each.active)
        return DeploymentOutcome(row.name, row.work_pool.name, "created", row.paused, asleep)
    left = {each.slug: each.active for each in present.schedules}
    asleep = tuple(each.slug for each in row.schedules if not left.get(each.slug, each.active))
    return DeploymentOutcome(row.name, row.work_pool.name, "updated", present.paused, asleep)


async def _register_all(
    rows: Sequence[DeploymentRow], flows: Sequence[Any], outcomes: Sequence[DeploymentOutcome]
) -> list[DeploymentOutcome]:
    # Each takes a dozen requests, which are mostly waited for.
    some = asyncio.Semaphore(_REGISTERED_AT_ONCE)

    async def one(row: DeploymentRow, flow: Any, outcome: DeploymentOutcome) -> DeploymentOutcome:
        async with some:
            return replace(outcome, id=await _register(row, flow, outcome))

    # Prefect prints a table of its own for every deployment; the caller has a better one for all of them.
    with redirect_stdout(io.StringIO()):
        return list(await asyncio.gather(*map(one, rows, flows, outcomes)))


async def _register(row: DeploymentRow, flow: Any, outcome: DeploymentOutcome) -> UUID:
    identity: UUID = await flow.adeploy(
        name=row.name,
        description=_described(row),
        tags=row.tags,
        parameters=row.parameters,
        work_pool_name=row.work_pool.name,
        work_queue_name=row.work_pool.work_queue_name,
        job_variables=row.work_pool.job_variables,
        schedules=[_schedule(each, outcome.paused_schedules) for each in row.schedules],
        concurrency_limit=_concurrency(row),
        triggers=_triggers(row),
        paused=outcome.paused,
        build=False,
        push=False,
        print_next_steps=False,
        ignore_warnings=True,
    )
    return identity


def _described(row: DeploymentRow) -> str:
    # Prefect's UI puts a cron into words and leaves the time zone out.
    times = [f"- {each.slug}: `{each.cron}` in {each.timezone}" for each in row.schedules]
    return "\n".join([row.description, "", *times]) if times else row.description


def _schedule(row: Any, asleep: Collection[str]) -> Schedule:
    from prefect.schedules import Cron

    return Cron(
        row.cron,
        timezone=row.timezone,
        slug=row.slug,
        parameters=row.parameters,
        active=row.slug not in asleep,
    )


def _concurrency(row: DeploymentRow) -> Any:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig

    if row.concurrency_limit is None:
        return None
    return ConcurrencyLimitConfig.model_validate(row.concurrency_limit.model_dump())


def _triggers(row: DeploymentRow) -> list[Any]:
    from prefect.events import DeploymentTriggerTypes
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)
    return [
        adapter.validate_python({"name": f"{row.name}__automation_{number}"} | each)
        for number, each in enumerate(row.triggers, start=1)
    ]


async def _with_schedules(
    client: PrefectClient, rows: Sequence[DeploymentRow], outcomes: Sequence[DeploymentOutcome]
) -> list[DeploymentOutcome]:
    plans = [_plan(row, outcome) for row, outcome in zip(rows, outcomes, strict=True)]
    awaited = {each.id for each, plan in zip(outcomes, plans, strict=True) if plan == "yes" and each.id}
    missing = await _without_scheduled_runs(client, awaited)
    return [
        replace(each, scheduled="missing" if each.id in missing else plan)
        for each, plan in zip(outcomes, plans, strict=True)
    ]


def _plan(row: DeploymentRow, outcome: DeploymentOutcome) -> Scheduled:
    if not row.schedules:
        return "by hand"
    if outcome.paused or len(outcome.paused_schedules) == len(row.schedules):
        return "paused"
    return "yes"


async def _without_scheduled_runs(client: PrefectClient, awaited: set[UUID]) -> set[UUID]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SCHEDULER_WAIT_SECONDS
    missing = set(awaited)
    while missing:
        missing -= await _have_scheduled_runs(client, missing)
        if not missing or loop.time() > deadline:
            break
        await asyncio.sleep(0.5)
    return missing


async def _have_scheduled_runs(client: PrefectClient, deployments: set[UUID]) -> set[UUID]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    scheduled = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    runs = await client.read_flow_runs(flow_run_filter=scheduled, limit=200)
    return {run.deployment_id for run in runs if run.deployment_id is not None}
