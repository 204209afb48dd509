"""How a flow ends without failing, and which errors a task tries again.

A flow with nothing to do is ``Completed`` under a name that says why. People read it; code never does, for
the truth about trades is in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from src.shared.domain.errors import NotTheWriter, Transient, Unreachable

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

EndName = Literal[
    "MARKET_CLOSED",
    "ALREADY_DONE",
    "NO_DECISION",
    "NOT_DUE",
    "DEGRADED",
    "HALTED",
    "SKIPPED",
    "PARTIAL",
    "NO_KEY",
    "SOUND",
    "BLOCKED",
]


def ended(name: EndName, message: str, data: Any = None) -> State[Any]:
    """Return a Completed state with a name of ours, to be returned from a flow."""
    from prefect.states import Completed

    return Completed(name=name, message=message, data=data)


def ended_load(summary: dict[str, Any]) -> dict[str, Any] | State[Any]:
    """Return how a flow ends that loaded data of many symbols: PARTIAL with the names of those that `failed`.

    One that failed altogether has raised before.
    """
    failed = summary["failed"]
    if failed:
        return ended(
            "PARTIAL", f"{len(failed)} of {summary['symbols']} symbols failed: {', '.join(failed)}.", summary
        )
    if summary.get("asked") == 0:
        return ended("NOT_DUE", "Nothing is due yet; `force` asks all the same.", summary)
    return summary


def joined(bars: dict[str, Any], events: dict[str, Any]) -> dict[str, Any]:
    """Join the summaries of bars and of what was paid and split; a symbol has failed that failed in either."""
    failed = sorted({*bars["failed"], *events["failed"]})
    return bars | {"events_changed": events["rows_changed"], "failed": failed}


def ended_in_order(names: Sequence[str], states: Sequence[State[Any]]) -> dict[str, Any] | State[Any]:
    """Return how a flow ends whose sub-flows ended so.

    Failed if all of them did, PARTIAL if one did, or one in part, BLOCKED if one found data that is not sound.
    """
    from prefect.states import Failed

    told = {
        name: f"{state.name}: {state.message or ''}".rstrip(": ") for name, state in zip(names, states, strict=True)
    }
    line = "; ".join(f"{name} {what}" for name, what in told.items())
    if not any(state.is_completed() for state in states):
        return Failed(message=line)
    if any(state.name == "PARTIAL" or not state.is_completed() for state in states):
        return ended("PARTIAL", line, told)
    if any(state.name == "BLOCKED" for state in states):
        return ended("BLOCKED", line, told)
    return told


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Say whether a task that failed may be repeated: after a `Transient`, and where a server did not answer.

    For ``@task(retries=…, retry_condition_fn=is_transient)``. A server that is being restarted answers again in
    seconds, and until then a leg may be without its other one. A Terminal error gives the same again, and an
    OutcomeUnknown must never simply be sent again.
    """
    return isinstance(state.data, Transient | Unreachable)


def is_transient_or_busy(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Say whether a step of the hourly cycle may be repeated: also when another run trades the account just now.

    That run may be one that only looks after orders; leaving the slot to it would leave the slot's exits undone.
    """
    return is_transient(task, task_run, state) or isinstance(state.data, NotTheWriter)
