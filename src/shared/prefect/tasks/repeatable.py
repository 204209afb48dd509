"""Tasks that do no harm when they are done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from src.shared.prefect.states import is_transient

P = ParamSpec("P")
R = TypeVar("R")

# A slot is short: the first repetition comes at once.
_DELAYS: list[float] = [1, 3, 10]


def repeatable(
    name: str, when: Callable[..., bool] = is_transient, delays: list[float] = _DELAYS
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of that name; after each of the delays (seconds) it is done again while `when` passes its failure.

    Its result is never taken from an earlier run.
    """
    return task(
        name=name, cache_policy=NO_CACHE, retries=len(delays), retry_delay_seconds=delays, retry_condition_fn=when
    )
