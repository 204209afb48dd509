"""One transaction: what a repository changes and what is said about it are committed together or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from src.shared.messages.base import Event

R_co = TypeVar("R_co", covariant=True)


class Work(Protocol[R_co]):
    """An open transaction. Leaving its `with` block rolls back unless `commit` was called."""

    @property
    def repo(self) -> R_co:
        """The repository whose reads and writes belong to this transaction."""
        ...

    def record(self, event: Event) -> None:
        """Put an event into the outbox; recording the same event id again changes nothing."""
        ...

    def commit(self) -> None:
        """Make all of it durable."""
        ...


class UnitOfWork(Protocol[R_co]):
    """Opens transactions."""

    def __call__(self) -> AbstractContextManager[Work[R_co]]:
        """Begin one."""
        ...
