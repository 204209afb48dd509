"""Prefect says when; what is true does not depend on it: its server dies, it repeats a run, it starts one again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.states import Crashed

from src.config.settings import Settings, load_settings
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.postgres import PREFECT_DATABASE, PREFECT_ROLE, EmbeddedPostgres
from src.shared.prefect.config import prefect_settings
from src.shared.prefect.deployments import adeploy
from src.shared.prefect.flows.strategy_engine import intraday_pairs_trading_flow as trading
from src.shared.prefect.table import read_table
from src.shared.prefect.tasks.strategy_engine_tasks import publish_decisions
from tests import polling
from tests.chaos.scene import Outcome, Scene, Stage
from tests.flows.conftest import QUICK, eventually, in_state, started
from tests.forked import context

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
POOL = "strategy-engine-pool"
DEPLOYMENT = "intraday-pairs-trading"
START_SECONDS = 90.0


@dataclass
class PrefectServer:
    """A server that may be killed and started again; its truth is in PostgreSQL."""

    environment: dict[str, str]
    settings: Settings
    log: Path
    process: subprocess.Popen[bytes] | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self.process = self._stack.enter_context(started(["start_prefect_server.py"], self.environment, self.log))
        polling.eventually(self._is_healthy, START_SECONDS, 0.2)

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self._stack.close()

    def _is_healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.settings.prefect_api_url}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture
def stage(slot_scene: Scene) -> Iterator[Stage]:
    with slot_scene.fresh() as made:
        yield made


@pytest.fixture
def server(
    stage: Stage, embedded_postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PrefectServer]:
    for name, value in {
        **QUICK,
        **stage.environment,
        "TRADEWINDS_HOME": str(tmp_path),
        "TRADEWINDS_PREFECT_PORT": str(free_port()),
        "TRADEWINDS_PREFECT_DATABASE_URL": embedded_postgres.url(PREFECT_DATABASE, PREFECT_ROLE, "asyncpg"),
    }.items():
        monkeypatch.setenv(name, value)
    made = PrefectServer(dict(os.environ), load_settings(), tmp_path / "server.log")
    try:
        made.start()
        yield made
    finally:
        made.close()


@dataclass
class StoppedRun:
    """A run of the deployment, stopped before its first order."""

    client: PrefectClient
    deployment_id: UUID
    id: UUID
    process: psutil.Process


@asynccontextmanager
async def a_run_stopped_before_its_first_order(server: PrefectServer, folder: Path) -> AsyncIterator[StoppedRun]:
    """Deploy, serve with a worker, and start a run that stops itself there."""
    environment = {**server.environment, "FAILPOINT": "execution.intent_committed:stop"}
    with (
        prefect_settings(server.settings),
        started(["start_prefect_worker.py", "--pool", POOL], environment, folder / "worker.log"),
    ):
        async with get_client() as client:
            [outcome] = await adeploy(server.settings, rows=read_table().deployments, only=[DEPLOYMENT])
            assert outcome.id is not None
            run = await client.create_flow_run_from_deployment(outcome.id)
            process = await eventually(lambda: _stopped_process(client, run.id), START_SECONDS)
            yield StoppedRun(client, outcome.id, run.id, process)


async def test_fault_40_the_server_dies_in_the_middle_of_a_run_and_the_slot_is_traded_once(
    server: PrefectServer, stage: Stage, undisturbed: Outcome, tmp_path: Path
) -> None:
    async with a_run_stopped_before_its_first_order(server, tmp_path) as run:
        server.kill()
        run.process.send_signal(signal.SIGCONT)

        # The orders of the slot do not wait for Prefect.
        await eventually(lambda: _is_traded(stage, undisturbed), START_SECONDS)
        server.start()
        await in_state(run.client, run.id, "Completed", "Crashed", "Failed", seconds=START_SECONDS)

        again = await run.client.create_flow_run_from_deployment(run.deployment_id)
        ended = await in_state(run.client, again.id, "ALREADY_DONE", "Crashed", "Failed", seconds=START_SECONDS)
        assert ended.state_name == "ALREADY_DONE"
    _check(stage, undisturbed)


async def test_fault_40_a_zombie_that_prefect_gave_up_goes_on_beside_another_run_and_the_slot_is_traded_once(
    server: PrefectServer, stage: Stage, undisturbed: Outcome, tmp_path: Path
) -> None:
    async with a_run_stopped_before_its_first_order(server, tmp_path) as zombie:
        await zombie.client.set_flow_run_state(zombie.id, Crashed(), force=True)
        another = context().Process(target=run_once, args=(server.environment,))
        another.start()
        try:
            await eventually(lambda: _another_is_running(zombie), START_SECONDS)
            continued = datetime.now(UTC)
            zombie.process.send_signal(signal.SIGCONT)

            await eventually(lambda: _is_traded(stage, undisturbed), START_SECONDS)
            await asyncio.to_thread(another.join, START_SECONDS)
            assert another.exitcode == 0
            await asyncio.to_thread(psutil.wait_procs, [zombie.process], START_SECONDS)
            assert not zombie.process.is_running()
        finally:
            another.kill()
            another.join()
        lines = await zombie.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[zombie.id])))
        assert any(line.timestamp > continued for line in lines)
    _check(stage, undisturbed)


def test_fault_40_a_run_that_fails_after_its_orders_and_is_repeated_finds_the_work_done(
    server: PrefectServer, stage: Stage, undisturbed: Outcome
) -> None:
    child = context().Process(target=run_failing_once_then_again, args=(server.environment,))
    child.start()
    try:
        child.join(START_SECONDS)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()
    _check(stage, undisturbed)


def run_failing_once_then_again(environment: dict[str, str]) -> None:
    """Run the flow with a first attempt that fails after the orders, and then a second run; a child process."""
    os.environ.update(environment)
    failures = ["the first time"]

    async def fails_once(*values: Any) -> None:
        if failures:
            raise RuntimeError(failures.pop())
        await publish_decisions(*values)

    async def both() -> list[str | None]:
        once_more = trading.intraday_pairs_trading.with_options(retries=1, retry_delay_seconds=0)
        return [(await once_more(return_state=True)).name for _ in range(2)]

    with pytest.MonkeyPatch.context() as patch, prefect_settings(load_settings()):
        patch.setattr(trading, "publish_decisions", fails_once)
        ends = asyncio.run(both())
    assert failures == []
    assert ends == ["ALREADY_DONE", "ALREADY_DONE"]


def run_once(environment: dict[str, str]) -> None:
    """Run the flow as Prefect knows it; the whole of a child process."""
    os.environ.update(environment)

    async def run() -> bool:
        return (await trading.intraday_pairs_trading(return_state=True)).is_completed()

    with prefect_settings(load_settings()):
        assert asyncio.run(run())


async def _another_is_running(run: StoppedRun) -> bool:
    runs = await run.client.read_flow_runs()
    return any(each.state is not None and each.state.is_running() for each in runs if each.id != run.id)


async def _stopped_process(client: PrefectClient, run_id: UUID) -> psutil.Process | None:
    pid = (await client.read_flow_run(run_id)).infrastructure_pid
    if pid is None:
        return None
    process = psutil.Process(int(pid))
    return process if process.status() == psutil.STATUS_STOPPED else None


async def _is_traded(stage: Stage, undisturbed: Outcome) -> bool:
    return stage.outcome().trades == undisturbed.trades


def _check(stage: Stage, undisturbed: Outcome) -> None:
    """Look at the books after one more run, which also tells what the slot's events were."""
    assert stage.run() == 0
    assert stage.complaints() == []
    assert stage.outcome() == undisturbed
