"""One writer per account: an advisory lock that dies with its session, and an epoch that outlives it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.dml import ReturningInsert

from src.shared.domain.errors import NotTheWriter
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.database.tables import writer_epoch

_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class PostgresWriterLock:
    """`WriterLock` on a session advisory lock of PostgreSQL: it needs a direct connection, no pooler between."""

    engine: Engine
    account: str
    wait_seconds: float

    @contextmanager
    def __call__(self, wait: bool = True) -> Iterator[int]:
        """Become the writer and yield a new epoch. Raises NotTheWriter when another session stays it."""
        with translated_errors(self.engine):
            connection = self.engine.connect()
        try:
            yield self._take(connection, wait)
        finally:
            # Closing the session, rather than returning it to the pool, is what surely frees the lock.
            connection.invalidate()
            connection.close()

    def _take(self, connection: Connection, wait: bool) -> int:
        key = func.hashtextextended(f"tradewinds-writer-{self.account}", 0)
        with translated_errors(self.engine):
            if not (self._wait_for(connection, key) if wait else connection.scalar(_try(key))):
                raise NotTheWriter("another process is trading this account now")
            epoch = connection.execute(self._next_epoch()).scalar_one()
            connection.commit()
        return int(epoch)

    def _wait_for(self, connection: Connection, key: ColumnElement[int]) -> bool:
        connection.execute(select(func.set_config("lock_timeout", f"{int(self.wait_seconds * 1000)}ms", True)))
        # The lock's time-out bounds the wait; that of statements may be shorter and means something else.
        connection.execute(select(func.set_config("statement_timeout", "0", True)))
        try:
            connection.execute(select(func.pg_advisory_lock(key)))
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                return False
            raise
        return True

    def _next_epoch(self) -> ReturningInsert[tuple[int]]:
        statement = insert(writer_epoch).values(
            account=self.account,
            epoch=1,
            holder=f"{socket.gethostname()}:{os.getpid()}",
            taken_at=func.clock_timestamp(),
        )
        return statement.on_conflict_do_update(
            index_elements=[writer_epoch.c.account],
            set_={
                "epoch": writer_epoch.c.epoch + 1,
                "holder": statement.excluded.holder,
                "taken_at": statement.excluded.taken_at,
            },
        ).returning(writer_epoch.c.epoch)


def _try(key: ColumnElement[int]) -> Select[tuple[bool]]:
    return select(func.pg_try_advisory_lock(key))
