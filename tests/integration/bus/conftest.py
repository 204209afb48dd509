"""The outbox of a migrated database, and the bus of a Redis that may be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as StopEvent
from threading import Thread

import psutil
import pytest
from sqlalchemy import Engine, select

from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.database.tables import outbox
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised
from tests.fakes.events import example
from tests.polling import BOUND


class MortalRedis:
    """A Redis server of the test's own, to be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedRedis(folder, free_port())
        self.start()

    @property
    def url(self) -> str:
        return self._server.url()

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        pid = self._server.pid()
        assert pid is not None
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGKILL)
        process.wait(BOUND)

    def stop(self) -> None:
        self._server.stop()


class Outbox:
    """Writes events as a service does and says what has become of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._version = 0

    def fresh(self, **facts: object) -> Event:
        """An event that has not been recorded."""
        self._version += 1
        return example(AlertRaised, "disk", self._version, **facts)

    def record(self, count: int = 1) -> list[Event]:
        """Record events, each in a transaction of its own."""
        events = [self.fresh() for _ in range(count)]
        for event in events:
            with SqlUnitOfWork(self._engine, lambda connection: connection)() as work:
                work.record(event)
                work.commit()
        return events

    def positions(self) -> list[int | None]:
        """Positions of the events, in the order of their versions."""
        with self._engine.connect() as connection:
            return list(connection.execute(select(outbox.c.position).order_by(outbox.c.aggregate_version)).scalars())

    def unpublished(self) -> int:
        """How many events are not marked as published."""
        with self._engine.connect() as connection:
            return len(connection.execute(select(outbox.c.event_id).where(outbox.c.published_at.is_(None))).all())


@pytest.fixture
def events(engine: Engine) -> Outbox:
    return Outbox(engine)


@pytest.fixture
def redis_bus(embedded_redis: EmbeddedRedis) -> Iterator[RedisBus]:
    bus = RedisBus(embedded_redis.url())
    yield bus
    bus.close()


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[MortalRedis]:
    server = MortalRedis(tmp_path / "redis")
    yield server
    server.stop()


@contextmanager
def running(*parts: Callable[[StopEvent], None]) -> Iterator[StopEvent]:
    """Run parts in threads that are stopped in the end; an error in one of them fails the test."""
    stop = StopEvent()
    failures: list[BaseException] = []

    def guarded(part: Callable[[StopEvent], None]) -> None:
        try:
            part(stop)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=guarded, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(BOUND)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
