from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.responses import DeploymentResponse

from src.config.settings import Settings
from src.shared.domain.errors import InputInvalid, Unreachable
from src.shared.prefect.config import SOURCE_ROOT, client_environment
from src.shared.prefect.deployments import DeploymentOutcome, adeploy
from src.shared.prefect.table import DeploymentRow, read_table
from src.shared.prefect.work_pools import POOLS, command_of
from tests.flows.conftest import SCRIPTS

ENTRYPOINT = "src/shared/prefect/flows/notification/monitor_system_health_flow.py:monitor_system_health"


def row(name: str = "first", **changes: object) -> DeploymentRow:
    """A deployment with two schedules."""
    content = {
        "name": name,
        "entrypoint": ENTRYPOINT,
        "description": "One for the tests.",
        "tags": ["tradewinds"],
        "work_pool": {"name": "notification-pool"},
        "schedules": [
            {"slug": "hourly", "cron": "0 * * * *", "timezone": "America/New_York"},
            {"slug": "daily", "cron": "0 9 * * *", "timezone": "America/Chicago"},
        ],
        "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE", "grace_period_seconds": 60},
    }
    return DeploymentRow.model_validate(content | changes)


async def found(client: PrefectClient, name: str) -> DeploymentResponse:
    return await client.read_deployment_by_name(f"monitor-system-health/{name}")


async def names(client: PrefectClient, *asked: str) -> set[str]:
    wanted = DeploymentFilter(name=DeploymentFilterName(any_=list(asked)))
    return {each.name for each in await client.read_deployments(deployment_filter=wanted)}


Deploy = Callable[..., Awaitable[list[DeploymentOutcome]]]


@pytest.fixture
def deploy(settings: Settings, client: PrefectClient) -> Deploy:
    async def call(*rows: DeploymentRow, **options: object) -> list[DeploymentOutcome]:
        return await adeploy(settings, rows=rows, **options)  # type: ignore[arg-type]

    return call


async def test_deploying_twice_keeps_the_ids_and_runs_get_scheduled(deploy: Deploy) -> None:
    first = await deploy(row(), row("second", schedules=[]))
    again = await deploy(row(), row("second", schedules=[]))

    assert [each.action for each in first] == ["created", "created"]
    assert [each.action for each in again] == ["updated", "updated"]
    assert [each.id for each in first] == [each.id for each in again]
    assert [each.scheduled for each in again] == ["yes", "by hand"]


async def test_a_deployment_arrives_as_the_row_says(deploy: Deploy, client: PrefectClient) -> None:
    await deploy(row(tags=["tradewinds", "trading"]))

    there = await found(client, "first")

    assert there.tags == ["tradewinds", "trading"]
    assert there.work_pool_name == "notification-pool"
    assert there.entrypoint == ENTRYPOINT
    assert {(each.slug, each.schedule.timezone) for each in there.schedules} == {  # type: ignore[union-attr]
        ("hourly", "America/New_York"),
        ("daily", "America/Chicago"),
    }
    assert there.global_concurrency_limit is not None
    assert there.global_concurrency_limit.limit == 1
    assert there.concurrency_options is not None
    assert there.concurrency_options.collision_strategy.value == "ENQUEUE"


async def test_a_deployment_that_a_person_paused_stays_paused(deploy: Deploy, client: PrefectClient) -> None:
    [before] = await deploy(row("paused-by-hand"))
    assert before.id is not None
    await client.pause_deployment(before.id)

    [after] = await deploy(row("paused-by-hand"))

    assert after.paused
    assert after.scheduled == "paused"
    assert (await found(client, "paused-by-hand")).paused


async def test_a_deployment_that_a_person_resumed_stays_resumed(deploy: Deploy, client: PrefectClient) -> None:
    [before] = await deploy(row("resumed-by-hand", paused=True))
    assert before.id is not None
    assert (await found(client, "resumed-by-hand")).paused
    await client.resume_deployment(before.id)

    [after] = await deploy(row("resumed-by-hand", paused=True))

    assert not (await found(client, "resumed-by-hand")).paused
    assert after.scheduled == "yes"


async def test_one_schedule_that_a_person_paused_stays_paused(deploy: Deploy, client: PrefectClient) -> None:
    [before] = await deploy(row("half-paused"))
    assert before.id is not None
    hourly = next(each for each in (await found(client, "half-paused")).schedules if each.slug == "hourly")
    await client.update_deployment_schedule(before.id, hourly.id, active=False)

    [after] = await deploy(row("half-paused"))

    active = {each.slug: each.active for each in (await found(client, "half-paused")).schedules}
    assert active == {"hourly": False, "daily": True}
    assert after.paused_schedules == ("hourly",)


async def test_pruning_removes_what_is_no_longer_listed_and_nothing_of_other_peoples(
    deploy: Deploy, client: PrefectClient
) -> None:
    await deploy(row("stays"), row("goes"))
    theirs = await found(client, "goes")
    stranger: UUID = await client.create_deployment(flow_id=theirs.flow_id, name="a-strangers")

    without = await deploy(row("stays"))
    assert await names(client, "stays", "goes") == {"stays", "goes"}
    pruned = await deploy(row("stays"), prune=True)

    assert "goes" in {each.name for each in pruned if each.action == "removed"}
    assert not [each for each in without if each.action == "removed"]
    assert await names(client, "stays", "goes", "a-strangers") == {"stays", "a-strangers"}
    await client.delete_deployment(stranger)


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(deploy: Deploy, client: PrefectClient) -> None:
    await deploy(row("old"), prune=True)
    before = (await found(client, "old")).updated

    outcomes = await deploy(row("new"), prune=True, dry_run=True)

    assert {(each.name, each.action) for each in outcomes} == {("new", "created"), ("old", "removed")}
    assert await names(client, "old", "new") == {"old"}
    assert (await found(client, "old")).updated == before


async def test_only_registers_the_named_ones_and_prunes_none_of_the_rest(
    deploy: Deploy, client: PrefectClient
) -> None:
    await deploy(row("one"), row("two"))

    outcomes = await deploy(row("one"), row("two"), only=["one"], prune=True)

    assert [each.name for each in outcomes if each.action == "updated"] == ["one"]
    assert await names(client, "one", "two") == {"one", "two"}


async def test_a_name_that_is_not_listed_is_one_clear_line(deploy: Deploy) -> None:
    with pytest.raises(InputInvalid, match="lists no deployment three"):
        await deploy(row("one"), only=["three"])


async def test_a_trigger_is_registered_once_however_often_it_is_deployed(
    deploy: Deploy, client: PrefectClient
) -> None:
    trigger = {"type": "event", "expect": ["tradewinds.test"], "parameters": {}}
    for _ in range(2):
        await deploy(row("triggered", schedules=[], triggers=[trigger]))

    automations = await client.read_automations_by_name("triggered__automation_1")

    assert len(automations) == 1


async def test_every_pool_starts_its_own_services_main(deploy: Deploy, client: PrefectClient) -> None:
    await deploy(row())

    for pool in POOLS:
        there = await client.read_work_pool(pool)
        properties = there.base_job_template["variables"]["properties"]
        assert there.type == "process"
        assert properties["command"]["default"] == command_of(pool)
        assert properties["working_dir"]["default"] == str(SOURCE_ROOT)


async def test_a_server_that_is_away_is_one_clear_line(settings: Settings) -> None:
    nobody = replace(settings, stack=settings.stack.model_copy(update={"prefect_port": 1}))

    with pytest.raises(Unreachable, match=r"No Prefect server answers at http://127\.0\.0\.1:1/api"):
        await adeploy(nobody, rows=[row()])


def test_the_script_deploys_the_whole_list_and_says_so(server: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "deploy_flows.py"), "--prune"],
        env=environment | {"COLUMNS": "160"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for each in read_table().deployments:
        assert each.name in done.stdout


async def test_prefects_own_command_reads_the_same_file(
    client: PrefectClient, settings: Settings, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        env=environment | client_environment(settings),
        cwd=SOURCE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for listed in read_table().deployments:
        assert await names(client, listed.name) == {listed.name}


@pytest.mark.parametrize("script", ["deploy_flows.py", "start_prefect_worker.py --all"])
def test_a_script_without_a_server_leaves_with_one_line(script: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *str(SCRIPTS / script).split(" ")],
        env=environment | {"TRADEWINDS_PREFECT_PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No Prefect server answers" in done.stderr


def test_a_server_on_a_port_in_use_leaves_with_one_line(server: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "start_prefect_server.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert environment["TRADEWINDS_PREFECT_PORT"] in done.stderr


def test_a_server_without_its_database_leaves_with_one_line(environment: dict[str, str]) -> None:
    nowhere = "postgresql+asyncpg://prefect:hush@127.0.0.1:1/prefect"
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "start_prefect_server.py"), "--port", "0"],
        env=environment | {"TRADEWINDS_PREFECT_DATABASE_URL": nowhere},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "does not answer" in done.stderr
    assert "hush" not in done.stderr


def test_nothing_of_the_tests_reaches_the_persons_own_server() -> None:
    assert "PREFECT_API_URL" not in os.environ
