"""One process that serves several work pools, and stops without losing a run.

Prefect's own worker kills its runs when it gets SIGTERM, and leaves them ``Running`` for ever. This one stops
asking for new runs, waits for those it has started, and then leaves; runs that are cut short all the same are
ended while the worker still lives, so that it reports them as Crashed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from loguru import logger
from prefect.client.orchestration import get_client
from prefect.workers.process import ProcessWorker

from src.config.settings import Settings
from src.shared.domain.errors import InputInvalid
from src.shared.prefect.config import prefect_settings
from src.shared.prefect.connection import require_server
from src.shared.prefect.work_pools import POOLS, ensure_work_pools

CUT_SHORT = 1
_KILL_AFTER_SECONDS = 10.0
# The client doubles its pause at each retry; a poll that waited so long would find the server back minutes late.
_POLL_SECONDS = 10.0


class DrainingWorker(ProcessWorker):
    """A process worker that can be told to start nothing more, and that outlives an absent server."""

    draining = False

    @classmethod
    def __dispatch_key__(cls) -> str:
        # Its pools are of type "process", but in Prefect's registry that name stays Prefect's own worker.
        return "tradewinds-process"

    @property
    def busy(self) -> int:
        """How many runs it has taken and not yet seen the end of."""
        return int(self.limiter.borrowed_tokens) if self.is_setup else 0

    async def get_and_submit_flow_runs(self) -> list[Any]:
        """Take what is due, unless draining."""
        if self.draining:
            return []
        return await _or_wait(super().get_and_submit_flow_runs, _POLL_SECONDS) or []

    async def sync_with_backend(self) -> None:
        """Send a heartbeat and read the pool."""
        await _or_wait(super().sync_with_backend)


@dataclass
class _Signals:
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def received(self) -> None:
        (self.stop if self.drain.is_set() else self.drain).set()


async def work(
    settings: Settings,
    pools: Sequence[str],
    *,
    limit: int,
    name: str,
    drain_seconds: float,
) -> int:
    """Serve `pools` until SIGTERM or SIGINT, then drain; return the exit code.

    Args:
        limit: runs at once, per pool.
        drain_seconds: how long runs may take to end once asked to stop; a second signal ends the wait.

    Raises:
        InputInvalid: a pool is not one of ours.
        Unreachable: the server does not answer at the start; later the worker waits for it.
    """
    if unknown := sorted(set(pools) - set(POOLS)):
        raise InputInvalid(f"No such pool: {', '.join(unknown)}. There are {', '.join(POOLS)}.")
    require_server(settings)
    _put_own_python_first()
    with prefect_settings(settings), private_temporary_folder():
        async with get_client() as client:
            await ensure_work_pools(client, {pool: POOLS[pool] for pool in pools})
        async with _signals() as signals:
            workers = [DrainingWorker(work_pool_name=pool, name=name, limit=limit) for pool in pools]
            return await _serve(workers, signals, drain_seconds)


async def _serve(workers: Sequence[DrainingWorker], signals: _Signals, drain_seconds: float) -> int:
    services = [asyncio.create_task(worker.start(printer=logger.info)) for worker in workers]
    asked = asyncio.create_task(signals.drain.wait())
    try:
        await asyncio.wait([*services, asked], return_when=asyncio.FIRST_COMPLETED)
        return await _drain(workers, signals.stop, drain_seconds)
    finally:
        await _end([*services, asked])


async def _drain(workers: Sequence[DrainingWorker], stop: asyncio.Event, drain_seconds: float) -> int:
    for worker in workers:
        worker.draining = True
    logger.info("Stopping: {} runs are still under way; a second signal ends them.", _busy(workers))
    if await _idle(workers, drain_seconds, stop):
        return 0
    logger.warning("Ending {} runs; they will be reported as crashed.", _busy(workers))
    for send in (psutil.Process.terminate, psutil.Process.kill):
        _to_children(send)
        if await _idle(workers, _KILL_AFTER_SECONDS):
            break
    return CUT_SHORT


async def _idle(workers: Sequence[DrainingWorker], seconds: float, stop: asyncio.Event | None = None) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while _busy(workers) and loop.time() < deadline and not (stop and stop.is_set()):
        await asyncio.sleep(0.1)
    return not _busy(workers)


def _busy(workers: Sequence[DrainingWorker]) -> int:
    return sum(worker.busy for worker in workers)


def _to_children(send: Callable[[psutil.Process], None]) -> None:
    for child in psutil.Process().children():
        try:
            send(child)
        except psutil.NoSuchProcess:
            continue


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for error in filter(None, failed):
        raise error


@asynccontextmanager
async def _signals() -> AsyncIterator[_Signals]:
    # Set explicitly: a process started with nohup in the background inherits signals that are ignored.
    loop = asyncio.get_running_loop()
    signals = _Signals()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.received)
    try:
        yield signals
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _or_wait(call: Callable[[], Awaitable[Any]], seconds: float | None = None) -> Any:
    # Prefect's loop gives up after some failures in a row, and its end would kill the runs under way.
    try:
        async with asyncio.timeout(seconds):
            return await call()
    except (TimeoutError, httpx.TransportError, httpx.HTTPStatusError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
            raise
        logger.warning("The Prefect server does not answer ({}); trying again.", type(error).__name__)
        return None


@contextmanager
def private_temporary_folder() -> Iterator[Path]:
    """Let temporary files of this process go to a folder of its own, removed at the end.

    Prefect's runner makes ``runner_storage`` below the common one, where on a shared machine the first user
    to come owns it and shuts the others out.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="tradewinds-worker-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def _put_own_python_first() -> None:
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
