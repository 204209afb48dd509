"""What a person sees of a run in Prefect: its log lines, how it ended, tables.

``flow_hooks`` is what every flow of ours takes::

    @flow(name="monitor-system-health", retries=0, timeout_seconds=60, **flow_hooks())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True)
class Progress:
    """A bar on the page of the current run that says how far it is."""

    artifact: UUID
    total: int

    @classmethod
    async def begin(cls, key: str, total: int, description: str = "") -> Progress:
        """Leave an empty bar; `key` is lower case with dashes."""
        from prefect.artifacts import acreate_progress_artifact

        return cls(await acreate_progress_artifact(0.0, key=key, description=description or None), total)

    async def show(self, done: int) -> None:
        """Say that so many of the total are done."""
        from prefect.artifacts import aupdate_progress_artifact

        await aupdate_progress_artifact(self.artifact, 100.0 * done / self.total)
