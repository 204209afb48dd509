"""How a flow ends without failing, and which errors a task tries again.

A flow with nothing to do is ``Completed`` under a name that says why. People read it; code never does, for
the truth about trades is in PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from src.shared.domain.errors import NotTheWriter, Transient

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

EndName = Literal[
    "MARKET_CLOSED", "ALREADY_DONE", "NO_DECISION", "DEGRADED", "HALTED", "SKIPPED", "PARTIAL", "NO_KEY"
]


def ended(name: EndName, message: str, data: Any = None) -> State[Any]:
    """Return a Completed state with a name of ours, to be returned from a flow."""
    from prefect.states import Completed

    return Completed(name=name, message=message, data=data)


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Say whether a task that failed may be repeated: only after a `Transient`.

    For ``@task(retries=…, retry_condition_fn=is_transient)``. A Terminal error gives the same again, and an
    OutcomeUnknown must never simply be sent again.
    """
    return isinstance(state.data, Transient)


def is_transient_or_busy(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Say whether a step of the hourly cycle may be repeated: also when another run trades the account just now.

    That run may be one that only looks after orders; leaving the slot to it would leave the slot's exits undone.
    """
    return isinstance(state.data, Transient | NotTheWriter)
