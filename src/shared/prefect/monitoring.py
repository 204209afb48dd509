"""What a person sees of a run in Prefect: its log lines, how it ended, tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypedDict

from loguru import logger

from src.shared.infra.logging import add_run_log_sink

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State


class FlowHooks(TypedDict):
    """The hooks of a flow, as `@flow` takes them."""

    on_failure: list[Any]
    on_crashed: list[Any]
    on_cancellation: list[Any]


def flow_hooks() -> FlowHooks:
    """Return the hooks every flow has: a line in the log when it ends badly."""
    return FlowHooks(
        on_failure=[log_failure],
        on_crashed=[log_crash],
        on_cancellation=[log_cancellation],
    )


@cache
def install_run_log_sink() -> int:
    """Send each Loguru line of this process to the log of the run that writes it; return the sink's id."""
    return add_run_log_sink(emit_to_run)


def emit_to_run(level: int, text: str) -> None:
    """Write one line to the log of the current flow or task run; outside of any run, nowhere."""
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        run_logger = get_run_logger()
    except MissingContextError:
        return
    run_logger.log(level, "%s", text)


def log_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Say that a run failed."""
    logger.error("{} ({}) failed: {}", flow.name, flow_run.name, state.message)


def log_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Say that a run's process died; called in the worker when the run can't say it itself."""
    logger.critical("{} ({}) crashed: {}", flow.name, flow_run.name, state.message)


def log_cancellation(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Say that a run was cancelled."""
    logger.warning("{} ({}) was cancelled: {}", flow.name, flow_run.name, state.message)


async def leave_table(key: str, rows: Sequence[dict[str, Any]], description: str = "") -> UUID:
    """Leave `rows` as a table artifact of the current run; `key` is lower case with dashes."""
    from prefect.artifacts import acreate_table_artifact

    return await acreate_table_artifact(key=key, table=list(rows), description=description or None)


@asynccontextmanager
async def progress(key: str, steps: int, description: str) -> AsyncIterator[Callable[[], None]]:
    """Show on the current run how many of `steps` are done; what is yielded counts one, from any thread.

    Raises, from what is yielded:
        Stopped: the block was left, for instance because the run's time is up: a thread that works on should end.
    """
    from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

    identity = await acreate_progress_artifact(0.0, key, description)
    shown = _Progress(asyncio.get_running_loop(), steps, partial(aupdate_progress_artifact, identity))
    try:
        yield shown.step
        await shown.settle()
    finally:
        shown.stopped = True


class Stopped(Exception):
    """Nobody waits for this work any more."""


class _Progress:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, steps: int, show: Callable[..., Coroutine[Any, Any, object]]
    ) -> None:
        self._loop = loop
        self._steps = max(1, steps)
        self._show = show
        self._done = 0
        self._last: Future[None] | None = None
        self._turn = asyncio.Lock()
        self._context = copy_context()
        self.stopped = False

    def step(self) -> None:
        """Count one; a whole per cent more is shown."""
        if self.stopped:
            raise Stopped("the run has ended")
        before, self._done = self._share(), self._done + 1
        if int(self._share()) > int(before):
            # The thread may know nothing of the run: what is shown is shown as the block would.
            self._last = self._context.copy().run(asyncio.run_coroutine_threadsafe, self._tell(), self._loop)

    async def settle(self) -> None:
        """Wait until what was last counted is shown."""
        if self._last is not None:
            await asyncio.wrap_future(self._last)

    async def _tell(self) -> None:
        # One after the other, each with what is so by then: a late answer must not show less than was shown.
        async with self._turn:
            await self._show(progress=self._share())

    def _share(self) -> float:
        return min(100.0, 100.0 * self._done / self._steps)
