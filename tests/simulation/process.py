"""One process of Tradewinds as the simulation runs it: the real services, and every place at which it may end.

Such places are before and after each request to the broker, each commit and each message to the bus. At a place the
process can be killed, held (to go on much later, as a process that was paused), or lose its sessions of PostgreSQL.
A killed process can't do anything any more: whatever it still tries while its stack unwinds raises again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import Connection, event

from src.config.settings import Settings
from src.services.execution.bootstrap import build as build_execution
from src.services.execution.ports import WriterLock
from src.services.risk_management.bootstrap import build as build_risk
from src.services.risk_management.bootstrap import build_watch
from src.services.strategy_engine.adapters.sql_instances import SqlInstanceRepository
from src.services.strategy_engine.adapters.sql_strategy import SqlStrategyRepository
from src.shared.failpoints import Crashed
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.alpaca.keys import broker_keys
from src.shared.infra.bus.consumer import Consumer
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.rate_limit import MinuteLimiter
from src.shared.messages.envelope import Envelope
from tests.simulation.clock import SimClock
from tests.simulation.network import Answer, Network, SimulatedAdapter

TRADING_URL = "http://127.0.0.1:1"
NO_PERMIT_IS_EVER_MISSING = 1_000_000


@dataclass
class Surroundings:
    """What all processes of a simulated world share."""

    settings: Settings
    clock: SimClock
    network: Network
    database_url: str
    admin: psycopg.Connection
    before_request: Callable[[Process, str, str, bytes], None]
    handle_event: Callable[[Connection, Envelope], None]
    free_databases: list[Database]
    alive: list[Process] = field(default_factory=list)
    started: int = 0

    def end_sessions(self, pids: set[int]) -> None:
        """End PostgreSQL sessions, and return once they are gone."""
        mine = "FROM pg_stat_activity WHERE datname = current_database() AND pid = ANY(%s)"
        self.admin.execute(f"SELECT pg_terminate_backend(pid) {mine}", [sorted(pids)])
        while self.admin.execute(f"SELECT 1 {mine} LIMIT 1", [sorted(pids)]).fetchone():
            time.sleep(0.001)

    def wait_for_the_gone(self) -> None:
        """Wait until the server has let go of the locks of sessions that were closed or ended.

        So no race decides who gets a lock: it is held by a process that is held, or it is free.
        """
        held = {pid for process in self.alive if process.hold is not None for pid in process.pids}
        query = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        while {pid for (pid,) in self.admin.execute(query)} - held:
            time.sleep(0.001)


class Database:
    """An engine that one process after another has for its own: what was compiled once serves all of them."""

    def __init__(self, around: Surroundings) -> None:
        self.process: Process | None = None
        self.engine = make_engine(around.database_url, around.settings.database)
        event.listen(self.engine, "connect", self._connected)
        event.listen(self.engine, "before_cursor_execute", self._executing)
        dialect = self.engine.dialect
        self._really_commit = dialect.do_commit
        dialect.do_commit = self._commit  # type: ignore[method-assign, assignment]
        dialect.do_ping = self._lives  # type: ignore[method-assign, assignment]

    def _connected(self, connection: Any, _: object) -> None:
        if self.process is not None:
            self.process.pids.add(connection.info.backend_pid)
            self.process.connections.append(connection)

    def _executing(self, *_: object) -> None:
        if self.process is None or self.process.dead:
            raise Crashed("a dead process asks the database")

    def _lives(self, connection: Any) -> bool:
        """Answer the pool's question without asking the server: sessions end here alone."""
        return self.process is not None and connection.info.backend_pid in self.process.pids

    def _commit(self, connection: Any) -> None:
        if self.process is None:
            raise Crashed("a dead process commits")
        self.process.place("before a commit")
        self._really_commit(connection)
        self.process.place("after a commit")


class Process:
    """One process: its services, its connections, its places."""

    def __init__(self, around: Surroundings) -> None:
        around.started += 1
        self.name = f"p{around.started}"
        self._around = around
        self.dead = False
        self.places = 0
        self.plan: dict[int, str] = {}
        self.pids: set[int] = set()
        self.connections: list[Any] = []
        self.gate_was_reconciled = False
        self.hold: Callable[[], None] | None = None
        self.was_held = False
        self._database = around.free_databases.pop() if around.free_databases else Database(around)
        self._database.process = self
        self.engine = self._database.engine
        self.broker = self._client()
        settings = around.settings
        self.execution = build_execution(settings, self.engine, self.broker, around.clock)
        real = self.execution.cycle.become_writer
        self.execution.cycle.become_writer = _PatientLock(real, around)
        self.risk = build_risk(settings, self.engine, self.broker)
        self.watch = build_watch(settings, self.engine, self.broker)
        self.strategy = SqlUnitOfWork(self.engine, SqlStrategyRepository)
        self.instances = SqlUnitOfWork(self.engine, SqlInstanceRepository)
        self.relay = OutboxRelay(self.engine, _Bus(self))
        self.consumer = Consumer("effects", self.engine, around.handle_event, retry_pause_seconds=0.0)
        around.alive.append(self)

    def place(self, what: str) -> None:
        """Be at a place at which a process may end."""
        if self.dead:
            raise Crashed(what)
        self.places += 1
        match self.plan.pop(self.places, None):
            case "kill":
                self.dead = True
                self._around.network.tell(f"    {self.name} is killed {what}")
                raise Crashed(what)
            case "cut":
                self._around.network.tell(f"    {self.name} loses PostgreSQL {what}")
                self.cut()
            case "hold":
                self._around.network.tell(f"    {self.name} is held {what}")
                if self.hold is not None:
                    self.hold()
                if self.dead:
                    raise Crashed(what)

    def tell_what_happened(self) -> None:
        """Relay the outbox and act on it."""
        self._around.wait_for_the_gone()
        self.relay.drain()
        self.consumer.catch_up()

    def cut(self) -> None:
        """Lose every connection to PostgreSQL."""
        self._around.end_sessions(self.pids)
        self.pids.clear()

    def bury(self) -> None:
        """Clear away what is left of a process that ended."""
        self.dead = True
        if self in self._around.alive:
            self._around.alive.remove(self)
        self.cut()
        self.engine.dispose()
        for connection in self.connections:
            connection.close()
        if self._database.process is self:
            self._database.process = None
            self._around.free_databases.append(self._database)

    def _client(self) -> AlpacaClient:
        settings, host = self._around.settings, self._around.clock.host()
        timeouts = settings.broker.connect_timeout_seconds, settings.broker.read_timeout_seconds
        limiter = MinuteLimiter(NO_PERMIT_IS_EVER_MISSING, now=host.monotonic, sleep=host.sleep)
        client = AlpacaClient(Endpoints(TRADING_URL, TRADING_URL, *broker_keys(settings), *timeouts), limiter)
        wire = client._wire
        for api in (wire._trading, wire._data):
            adapter = SimulatedAdapter(*timeouts, wire._mind_the_limit)
            adapter.carry = self._carry
            api._session.mount("http://", adapter)
        return client

    def _carry(self, method: str, url: str, headers: dict[str, str], body: bytes, patience: float) -> Answer:
        self.place(f"before {method} {url.removeprefix(TRADING_URL)}")
        self._around.before_request(self, method, url, body)
        answer = self._around.network.carry(method, url, headers, body, patience)
        self.place(f"after {method} {url.removeprefix(TRADING_URL)}")
        return answer


class _Bus:
    """A bus that loses everything; only its places matter. What happened is read from the outbox."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def publish(self, envelope: Envelope) -> None:
        self._process.place(f"before publishing {envelope.channel}")
        self._process.place(f"after publishing {envelope.channel}")

    def subscribe(self, patterns: object = ()) -> Any:
        raise NotImplementedError("nobody listens")

    def close(self) -> None:
        """Hold nothing."""


@dataclass(frozen=True)
class _PatientLock:
    """The real lock, asked only once the server has noticed which sessions are gone."""

    lock: WriterLock
    around: Surroundings

    @contextmanager
    def __call__(self, *how: Any) -> Iterator[int]:
        self.around.wait_for_the_gone()
        with self.lock(*how) as epoch:
            yield epoch


class Held:
    """A process that runs in a thread of its own up to a place, is held there, and goes on when it is told to.

    Only one thread runs at any time, so the order of everything is that of the schedule.
    """

    def __init__(self, process: Process, work: Callable[[], str]) -> None:
        self.process = process
        self.outcome: str | None = None
        self._here, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._work = work
        process.hold, process.was_held = self._pause, True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._here.acquire()

    @property
    def is_over(self) -> bool:
        """Say whether it came to its end without being held."""
        return self.outcome is not None

    def go_on(self) -> str:
        """Let it run to its end and return how it ended."""
        if self.outcome is None:
            self.process.hold = None
            self._there.release()
            self._here.acquire()
        self._thread.join()
        return self.outcome or ""

    def _pause(self) -> None:
        self._here.release()
        self._there.acquire()

    def _run(self) -> None:
        try:
            self.outcome = self._work()
        finally:
            self.process.hold = None
            self._here.release()
