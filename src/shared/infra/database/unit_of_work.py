"""Unit of work on PostgreSQL: a repository and the outbox in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from src.shared.infra.database.engine import translated_errors
from src.shared.infra.database.tables import outbox
from src.shared.messages.base import Event

R = TypeVar("R")


class SqlWork(Generic[R]):
    """One open transaction. Commit is explicit; whatever was not committed is rolled back."""

    def __init__(self, connection: Connection, repo: R) -> None:
        self._connection = connection
        self.repo = repo

    def record(self, event: Event) -> None:
        """Put an event into the outbox; the same event id again changes nothing."""
        self._connection.execute(
            insert(outbox).values(**outbox_row(event)).on_conflict_do_nothing(index_elements=[outbox.c.event_id])
        )

    def commit(self) -> None:
        """Make all of it durable."""
        self._connection.commit()


class SqlUnitOfWork(Generic[R]):
    """Opens transactions on an engine and gives each the repository that `make_repo` builds."""

    def __init__(self, engine: Engine, make_repo: Callable[[Connection], R]) -> None:
        self._engine = engine
        self._make_repo = make_repo

    @contextmanager
    def __call__(self) -> Iterator[SqlWork[R]]:
        """Begin a transaction.

        Raises:
            Transient: the server rolled back or went away; nothing was committed.
            Unreachable: no server answers.
        """
        with translated_errors(self._engine), self._engine.connect() as connection:
            yield SqlWork(connection, self._make_repo(connection))


def outbox_row(event: Event) -> dict[str, object]:
    """Lay an event out as a row of the outbox."""
    return {
        "event_id": event.event_id,
        "channel": event.channel(),
        "schema_version": event.schema_version,
        "aggregate": event.aggregate,
        "aggregate_id": event.aggregate_id,
        "aggregate_version": event.aggregate_version,
        "correlation_id": event.correlation_id,
        "occurred_at": event.occurred_at,
        "payload": event.model_dump(mode="json"),
    }
