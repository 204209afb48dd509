from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.states import Cancelling

from src.config.settings import Settings
from src.shared.prefect.deployments import adeploy
from src.shared.prefect.table import read_table
from tests.flows.conftest import deployed, eventually, in_state, log_of, started

Worker = subprocess.Popen[bytes]


async def says(log: Path, text: str) -> bool:
    return text in log.read_text()


async def test_the_health_flow_runs_through_its_services_main_and_says_what_is_away(
    worker: Worker, client: PrefectClient, settings: Settings
) -> None:
    [outcome] = await adeploy(settings, rows=read_table().deployments, only=["monitor-system-health"])
    assert outcome.id is not None
    run = await client.create_flow_run_from_deployment(outcome.id)

    ended = await in_state(client, run.id, "DEGRADED", "Completed", "Crashed", "Failed")

    assert ended.state is not None
    assert ended.state.name == "DEGRADED"
    assert ended.state.is_completed()
    assert "Redis" in str(ended.state.message)

    async def told() -> bool:
        return (20, "Prefect API: answers 200") in [
            (lvl, text.partition(" (")[0]) for lvl, text in await log_of(client, run.id)
        ]

    assert await eventually(told)
    tables = await client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    )
    assert [each.key for each in tables] == ["system-health"]
    assert '"dependency": "Broker clock"' in str(tables[0].data)


async def test_loguru_lines_reach_the_runs_log_with_their_levels(worker: Worker, client: PrefectClient) -> None:
    run = await client.create_flow_run_from_deployment(await deployed("speaks"))
    await in_state(client, run.id, "Completed")

    async def lines() -> list[tuple[int, str]] | None:
        ours = [each for each in await log_of(client, run.id) if each[1].startswith(("asleep", "awake"))]
        return ours if len(ours) >= 2 else None

    assert await eventually(lines) == [(20, "asleep with %s and {braces}"), (20, "awake")]


async def test_a_run_whose_process_is_killed_is_crashed_and_the_worker_says_so(
    worker: Worker, client: PrefectClient, home: Path
) -> None:
    run = await client.create_flow_run_from_deployment(await deployed("killed", 60))
    running = await in_state(client, run.id, "Running")
    assert running.infrastructure_pid is not None
    os.kill(int(running.infrastructure_pid), signal.SIGKILL)

    crashed = await in_state(client, run.id, "Crashed")

    assert "-9" in str(crashed.state and crashed.state.message)
    assert await eventually(lambda: says(home / "worker.log", f"test-sleeper ({crashed.name}) crashed:"))


async def test_a_process_that_can_not_boot_leaves_no_run_submitting(worker: Worker, client: PrefectClient) -> None:
    wrong = {"env": {"TRADEWINDS_LOG_LEVEL": "LOUD"}}
    run = await client.create_flow_run_from_deployment(await deployed("unbootable", job_variables=wrong))

    crashed = await in_state(client, run.id, "Crashed")

    assert "78" in str(crashed.state and crashed.state.message)
    reasons = [text for level, text in await log_of(client, run.id) if level == 50]
    assert len(reasons) == 1
    assert "notification could not boot: TRADEWINDS_LOG_LEVEL" in reasons[0]


async def test_a_command_that_does_not_exist_leaves_no_run_submitting(worker: Worker, client: PrefectClient) -> None:
    wrong = {"command": "python -m src.services.nobody.main"}
    run = await client.create_flow_run_from_deployment(await deployed("unknown", job_variables=wrong))

    await in_state(client, run.id, "Crashed")


async def test_a_run_that_a_person_cancels_is_cancelled_and_its_process_gone(
    worker: Worker, client: PrefectClient, home: Path
) -> None:
    run = await client.create_flow_run_from_deployment(await deployed("cancelled", 60))
    running = await in_state(client, run.id, "Running")
    assert running.infrastructure_pid is not None
    process = psutil.Process(int(running.infrastructure_pid))
    await client.set_flow_run_state(run.id, Cancelling())

    await in_state(client, run.id, "Cancelled")

    async def gone() -> bool:
        return not process.is_running()

    assert await eventually(gone)
    assert await eventually(lambda: says(home / "worker.log", f"({running.name}) was cancelled:"))


async def test_a_worker_asked_to_stop_lets_its_run_complete_and_takes_no_other(
    client: PrefectClient, environment: dict[str, str], home: Path
) -> None:
    slow = await deployed("slow", 3, pool="analytics-pool")
    command = ["start_prefect_worker.py", "--pool", "analytics-pool", "--pool", "execution-pool"]
    with started(command, environment, home / "drained.log") as own:
        run = await client.create_flow_run_from_deployment(slow)
        await in_state(client, run.id, "Running")
        # Ctrl-C goes to the whole process group.
        os.killpg(own.pid, signal.SIGINT)
        await eventually(lambda: says(home / "drained.log", "Stopping: 1 runs"))
        late = await client.create_flow_run_from_deployment(slow)

        await in_state(client, run.id, "Completed")
        code = await asyncio.to_thread(own.wait, 20)

    assert code == 0
    assert (await client.read_flow_run(late.id)).state_name == "Scheduled"
    await client.delete_flow_run(late.id)


async def test_a_second_signal_ends_the_run_and_it_is_reported(
    client: PrefectClient, environment: dict[str, str], home: Path
) -> None:
    slow = await deployed("endless", 600, pool="strategy-engine-pool")
    command = ["start_prefect_worker.py", "--pool", "strategy-engine-pool"]
    with started(command, environment, home / "stopped.log") as own:
        run = await client.create_flow_run_from_deployment(slow)
        await in_state(client, run.id, "Running")
        own.send_signal(signal.SIGINT)

        await eventually(lambda: says(home / "stopped.log", "Stopping: 1 runs"))
        own.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(own.wait, 30)

    assert code == 1
    await in_state(client, run.id, "Crashed")
