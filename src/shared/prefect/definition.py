"""How a flow of ours is defined::

    @flow(name="reconcile-trades", retries=1, retry_delay_seconds=60, timeout_seconds=300)
    async def reconcile_trades() -> dict[str, Any]: ...

It has the hooks of every flow, and a person's mistake ends it at once: trying again gives the same. What a retry may
mend, a server that does not answer among it, has the flow's retries as Prefect counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import prefect
from loguru import logger
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy
from prefect.context import FlowRunContext
from prefect.states import Failed

from src.shared.domain.errors import Unreachable, UserError
from src.shared.prefect.monitoring import flow_hooks

P = ParamSpec("P")
R = TypeVar("R")
Steps = Callable[P, Coroutine[Any, Any, R]]


def flow(
    *,
    name: str,
    retries: int | None = None,
    retry_delay_seconds: float | None = None,
    timeout_seconds: float | None = None,
) -> Callable[[Steps[P, R]], Flow[P, Coroutine[Any, Any, R]]]:
    """Make a flow of that name, which is tried again `retries` times unless a person's mistake ended it."""

    def define(steps: Steps[P, R]) -> Flow[P, Coroutine[Any, Any, R]]:
        made: Flow[P, Coroutine[Any, Any, R]] = prefect.flow(
            name=name,
            retries=retries,
            retry_delay_seconds=retry_delay_seconds,
            timeout_seconds=timeout_seconds,
            **flow_hooks(),
        )(steps)
        # Only now: Prefect takes the flow's version and entrypoint from the file of the function it is given.
        made.fn = _with_mistakes_told(steps)
        return made

    return define


def _with_mistakes_told(steps: Steps[P, R]) -> Steps[P, R]:
    @wraps(steps)
    async def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await steps(*args, **kwargs)
        except UserError as error:
            if isinstance(error, Unreachable) or (context := FlowRunContext.get()) is None:
                raise
            await _give_up_retries(context)
            return Failed(message=str(error), data=error)

    # Prefect looks up the names of annotations among those of this file.
    told.__signature__ = signature(steps, eval_str=True)  # type: ignore[attr-defined]
    return told


async def _give_up_retries(context: FlowRunContext) -> None:
    # Prefect has no condition for retries. The server decides when it is told of a failure, by the run's own policy.
    if (run := context.flow_run) is None or not context.flow or not context.flow.retries:
        return
    async with get_client() as client:
        await client.update_flow_run(run.id, empirical_policy=FlowRunPolicy(retries=0))
    logger.debug("A person's mistake is not tried again.")
