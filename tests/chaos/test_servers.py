"""PostgreSQL and Redis die while a process trades slot after slot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from loguru import logger
from psycopg import Connection as DriverConnection
from sqlalchemy import Connection, Engine, func, select, text

from src.config.settings import load_settings
from src.shared.domain.errors import TradewindsError, UserError
from src.shared.domain.signals import SignalAction
from src.shared.infra.bus.consumer import Consumer
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.migrate import upgrade
from src.shared.infra.database.tables import outbox, pair_trade
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.postgres import TRADING_DATABASE, EmbeddedPostgres
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE
from src.shared.messages.envelope import Envelope
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import TwinAdmin, TwinHandle, running_twin
from tests.folders import server_folder
from tests.integration.execution.processes import SHORT, START, Floor, approve, open_floor
from tests.polling import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
RESTARTS = 4
SLOTS = 14
ROUNDS = 600
EFFECTS = "told_once"
STRACE = shutil.which("strace")
NOBODYS_REDIS = "redis://127.0.0.1:1/0"


def trade_on(database_url: str, twin_url: str, redis_url: str, slots: int) -> None:
    """Trade so many slots, each tried until it gets through; the whole of a child process."""
    logger.remove()
    os.environ["TRADEWINDS_REDIS_URL"] = redis_url
    with httpx.Client(base_url=twin_url, timeout=30) as client:
        twin = TwinHandle(twin_url, TwinAdmin(client))
        with open_floor(database_url, twin, is_new=False) as floor:
            for number in range(slots):
                action = SignalAction.EXIT if number % 2 else SignalAction.ENTER_LONG
                slot = next(floor.slots)
                floor.move_to(slot)
                _until_it_goes_through(partial(approve, floor.engine, slot, action))
                _until_it_goes_through(floor.run_here)


def _until_it_goes_through(work: Any) -> None:
    for _ in range(ROUNDS):
        try:
            work()
        except TradewindsError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("it never went through")


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    with server_folder("tradewinds-chaos-") as folder:
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            server.provision()
            upgrade(server.url(TRADING_DATABASE, OWNER_ROLE))
            yield server
        finally:
            server.stop("immediate")


def test_fault_38_postgres_restarted_at_once_while_slots_are_traded(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.url(TRADING_DATABASE, APP_ROLE)
    with running_twin(clock=START.isoformat()) as twin, open_floor(url, twin) as floor:
        with _trading(floor) as child:
            for restart in range(RESTARTS):
                eventually(partial(_has_traded_more, floor.engine, restart * 2))
                own_postgres.restart("immediate")
                assert child.is_alive()
            _join(child)
        _assert_each_slot_is_traded_once(floor)


def test_fault_38_no_connection_is_to_be_had_while_slots_are_traded(
    floor: Floor, trading_database: TradingDatabase
) -> None:
    with trading_database.server.connect() as owner, _trading(floor) as child:
        for refusal in range(RESTARTS):
            eventually(partial(_has_traded_more, floor.engine, refusal * 2))
            floor.engine.dispose()
            with _no_connections(owner, trading_database):
                assert child.is_alive()
                with pytest.raises(UserError, match="too many connections"):
                    approve(floor.engine, START, SignalAction.EXIT)
        _join(child)
    _assert_each_slot_is_traded_once(floor)


@pytest.mark.skipif(STRACE is None, reason="strace, which makes a disk fail, is not installed")
def test_fault_39_a_disk_that_does_not_keep_what_is_written_while_slots_are_traded(
    own_postgres: EmbeddedPostgres,
) -> None:
    url = own_postgres.url(TRADING_DATABASE, APP_ROLE)
    with running_twin(clock=START.isoformat()) as twin, open_floor(url, twin) as floor, _trading(floor) as child:
        eventually(partial(_has_traded_more, floor.engine, 2))
        with _no_write_is_kept(own_postgres):
            eventually(lambda: "PANIC:  could not fdatasync" in _log_of(own_postgres))
        own_postgres.start()
        _await_two_more_slots(floor)
        _join(child)
        _assert_each_slot_is_traded_once(floor)


def test_fault_37_redis_killed_restarted_and_flushed_while_slots_are_traded(
    floor: Floor, trading_database: TradingDatabase, tmp_path: Path
) -> None:
    with _told_once(floor, trading_database, tmp_path) as server:
        _kill(server)
        _await_two_more_slots(floor)
        assert _unpublished(floor.engine) > 0

        server.start()
        redis.from_url(server.url()).flushall()


def test_fault_37_redis_is_full_while_slots_are_traded(
    floor: Floor, trading_database: TradingDatabase, tmp_path: Path
) -> None:
    with _told_once(floor, trading_database, tmp_path) as server, redis.from_url(server.url()) as client:
        # The requests of the account are counted here.
        assert list(client.scan_iter("tradewinds.limit.*"))
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.OutOfMemoryError):
            client.set("anything", 1)
        _await_two_more_slots(floor)

        client.config_set("maxmemory", 0)


@contextmanager
def _told_once(floor: Floor, trading_database: TradingDatabase, folder: Path) -> Iterator[EmbeddedRedis]:
    """Slots are traded while something is done to that Redis; all is traded once and every event had one effect."""
    with trading_database.server.connect(trading_database.name) as connection:
        connection.execute(f"CREATE TABLE {EFFECTS} (event_id uuid NOT NULL)")
        connection.execute(f"GRANT SELECT, INSERT ON {EFFECTS} TO {APP_ROLE}")

    with _own_redis(folder) as server, _relayed(floor.database_url, server.url()):
        with _trading(floor, server.url()) as child:
            eventually(partial(_has_traded_more, floor.engine, 2))
            yield server
            _join(child)
        eventually(lambda: _unpublished(floor.engine) == 0)
        eventually(lambda: len(_effects(floor.engine)) == _events(floor.engine))
    assert set(Counter(_effects(floor.engine)).values()) == {1}
    _assert_each_slot_is_traded_once(floor)


def _await_two_more_slots(floor: Floor) -> None:
    before = _slots_traded(floor.engine)
    eventually(partial(_has_traded_more, floor.engine, before + 1))


def _join(child: Any) -> None:
    child.join(SHORT.total_seconds())
    assert child.exitcode == 0


def _assert_each_slot_is_traded_once(floor: Floor) -> None:
    orders = floor.twin.admin.state()["orders"]
    assert Counter(floor.states()) == {"closed": SLOTS // 2}
    assert len({each["client_order_id"] for each in orders}) == len(orders) == SLOTS * 2
    assert floor.held() == {}
    # Among them I2: no order at the broker without an intent that was committed before.
    assert floor.broken_invariants() == []


@contextmanager
def _no_write_is_kept(server: EmbeddedPostgres) -> Iterator[None]:
    """Whoever connects to the server from now on gets an error of the disk for what it wants to be sure of."""
    inject = "inject=fsync,fdatasync:error=EIO"
    command = [str(STRACE), "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", inject, "-p", str(server.pid())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        try:
            with server.connect() as owner:
                _throw_out_of(owner, TRADING_DATABASE)
            yield
        finally:
            tracer.terminate()


def _throw_out_of(owner: DriverConnection[Any], database: str) -> None:
    owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
        (database, APP_ROLE),
    )


def _log_of(server: EmbeddedPostgres) -> str:
    return "".join(file.read_text() for file in server.folder.rglob("*.log"))


@contextmanager
def _own_redis(folder: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(folder / "redis", free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _no_connections(owner: DriverConnection[Any], database: TradingDatabase) -> Iterator[None]:
    """Nobody but the server's owner gets into the database, who is in it is thrown out, and somebody was refused."""
    refused = f'too many connections for database "{database.name}"'
    before = _log_of(database.server).count(refused)
    owner.execute(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    try:
        _throw_out_of(owner, database.name)
        eventually(lambda: _log_of(database.server).count(refused) > before)
        yield
    finally:
        owner.execute(f"ALTER DATABASE {database.name} CONNECTION LIMIT -1")


@contextmanager
def _trading(floor: Floor, redis_url: str = NOBODYS_REDIS) -> Iterator[Any]:
    child = floor.processes.Process(target=trade_on, args=(floor.database_url, floor.twin.url, redis_url, SLOTS))
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


@contextmanager
def _relayed(database_url: str, redis_url: str) -> Iterator[None]:
    """A relay and a consumer, as the notification service runs them."""
    stop = threading.Event()
    engine = make_engine(database_url, load_settings().database)
    consumer = Consumer("told", engine, _note_effect, poll_seconds=0.1)
    threads = [
        threading.Thread(target=OutboxRelay(engine, RedisBus(redis_url), poll_seconds=0.1).run, args=(stop,)),
        threading.Thread(target=consumer.run, args=(RedisBus(redis_url), stop)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        engine.dispose()


def _note_effect(connection: Connection, envelope: Envelope) -> None:
    connection.execute(text(f"INSERT INTO {EFFECTS} VALUES (:id)"), {"id": envelope.event_id})  # noqa: S608


def _kill(server: EmbeddedRedis) -> None:
    client = redis.from_url(server.url())
    os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
    client.close()
    eventually(lambda: not server.is_running())


def _slots_traded(engine: Engine) -> int:
    """Two for each trade that was closed; a server that is away has traded none."""
    try:
        with engine.connect() as connection:
            closed = select(func.count()).select_from(pair_trade).where(pair_trade.c.state == "closed")
            return 2 * int(connection.execute(closed).scalar_one())
    except Exception as error:
        logger.debug("asked in vain: {}", error)
        return 0


def _has_traded_more(engine: Engine, slots: int) -> bool:
    return _slots_traded(engine) > slots


def _unpublished(engine: Engine) -> int:
    return _count(engine, select(func.count()).select_from(outbox).where(outbox.c.published_at.is_(None)))


def _events(engine: Engine) -> int:
    return _count(engine, select(func.count()).select_from(outbox))


def _count(engine: Engine, query: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def _effects(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(f"SELECT event_id FROM {EFFECTS}")).scalars())  # noqa: S608
