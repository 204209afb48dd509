"""PostgreSQL and Redis die while a process trades slot after slot."""

from __future__ import annotations

import os
import signal
import tempfile
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
from sqlalchemy import Connection, Engine, func, select, text

from src.config.settings import load_settings
from src.shared.domain.errors import TradewindsError
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
from tests.integration.execution.processes import SHORT, START, Floor, approve, open_floor
from tests.polling import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
RESTARTS = 4
SLOTS = 14
ROUNDS = 600
EFFECTS = "told_once"


def trade_on(database_url: str, twin_url: str, slots: int) -> None:
    """Trade so many slots, each tried until it gets through; the whole of a child process."""
    logger.remove()
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
    # Below /tmp itself: started by root, PostgreSQL runs as another user, who must get there.
    with tempfile.TemporaryDirectory(prefix="tradewinds-chaos-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder) / "postgres")
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
            child.join(SHORT.total_seconds())
            assert child.exitcode == 0

        orders = floor.twin.admin.state()["orders"]
        assert Counter(floor.states()) == {"closed": SLOTS // 2}
        assert len({each["client_order_id"] for each in orders}) == len(orders) == SLOTS * 2
        assert floor.held() == {}
        # Among them I2: no order at the broker without an intent that was committed before.
        assert floor.broken_invariants() == []


def test_fault_37_redis_killed_restarted_and_flushed_while_slots_are_traded(
    floor: Floor, trading_database: TradingDatabase, tmp_path: Path
) -> None:
    with trading_database.server.connect(trading_database.name) as connection:
        connection.execute(f"CREATE TABLE {EFFECTS} (event_id uuid NOT NULL)")
        connection.execute(f"GRANT SELECT, INSERT ON {EFFECTS} TO {APP_ROLE}")
    server = EmbeddedRedis(tmp_path / "redis", free_port())
    server.start()
    try:
        with _relayed(floor.database_url, server.url()), _trading(floor) as child:
            eventually(partial(_has_traded_more, floor.engine, 2))
            _kill(server)
            before = _slots_traded(floor.engine)
            eventually(partial(_has_traded_more, floor.engine, before + 2))
            assert _unpublished(floor.engine) > 0

            server.start()
            redis.from_url(server.url()).flushall()
            child.join(SHORT.total_seconds())

            assert child.exitcode == 0
            eventually(lambda: _unpublished(floor.engine) == 0)
            eventually(lambda: len(_effects(floor.engine)) == _events(floor.engine))
    finally:
        server.stop()
    assert set(Counter(_effects(floor.engine)).values()) == {1}
    assert Counter(floor.states()) == {"closed": SLOTS // 2}
    assert floor.orders() == SLOTS * 2
    assert floor.broken_invariants() == []


@contextmanager
def _trading(floor: Floor) -> Iterator[Any]:
    child = floor.processes.Process(target=trade_on, args=(floor.database_url, floor.twin.url, SLOTS))
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
