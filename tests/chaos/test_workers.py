"""Several processes at one slot, one that was stopped too long, and a disk that is full."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from src.shared.domain.errors import Transient
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.tables import alert, order_intent
from src.shared.infra.postgres_roles import APP_ROLE
from tests.conftest import TradingDatabase
from tests.integration.execution.processes import (
    FIRST,
    OVERTAKEN,
    SECOND,
    SHORT,
    Floor,
    run_armed_slot,
    run_slots,
)
from tests.polling import eventually

pytestmark = pytest.mark.chaos
REPEATS = 200
WHOLE = {FIRST: 5, SECOND: -4}


@pytest.mark.timeout(600)
def test_fault_41_two_workers_at_one_slot_trade_it_once_200_times(
    floor: Floor, trading_database: TradingDatabase
) -> None:
    with trading_database.server.connect() as connection:
        # The server does not die here: nobody need wait for its disk.
        connection.execute(f"ALTER DATABASE {trading_database.name} SET synchronous_commit = off")
    barrier = floor.processes.Barrier(3)
    with _started(floor, run_slots, barrier, REPEATS), _started(floor, run_slots, barrier, REPEATS):
        for repeat in range(REPEATS):
            floor.next_slot(SignalAction.EXIT if repeat % 2 else SignalAction.ENTER_LONG)
            barrier.wait(60)
            barrier.wait(60)

            assert len(_intents(floor)) == 2 * (repeat + 1)
            assert floor.held() == ({} if repeat % 2 else WHOLE)
    orders = floor.twin.admin.state()["orders"]
    assert len({each["client_order_id"] for each in orders}) == len(orders) == 2 * REPEATS
    assert floor.broken_invariants() == []


@pytest.mark.parametrize(
    ("where", "intents"),
    [("execution.step_chosen:stop", 0), ("execution.step_chosen:stop:2", 1), ("execution.before_post:stop", 1)],
    ids=["before an intent is written", "before an order is said to be sent", "before a request leaves"],
)
def test_fault_42_a_process_stopped_past_its_lease_can_do_nothing_when_it_goes_on(
    floor: Floor, trading_database: TradingDatabase, where: str, intents: int
) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    with _started(floor, run_armed_slot, where) as old:
        eventually(lambda: psutil.Process(old.pid).status() == psutil.STATUS_STOPPED)
        assert len(_intents(floor)) == intents
        _end_sessions(trading_database)

        assert floor.run_elsewhere(1) == [0]
        after_the_new_one = _intents(floor)
        os.kill(old.pid, signal.SIGCONT)
        old.join(SHORT.total_seconds())

        assert old.exitcode == OVERTAKEN
    assert _intents(floor) == after_the_new_one
    assert floor.states() == ["open"]
    assert floor.orders() == 2
    assert floor.held() == WHOLE
    assert floor.broken_invariants() == []


def test_fault_39_a_disk_that_is_full_refuses_entries_before_anything_is_sent(
    floor: Floor, trading_database: TradingDatabase
) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    with _disk_full(trading_database, "order_intent"):
        with pytest.raises(Transient, match="No space left"):
            floor.run_here()

        assert floor.orders() == 0
        assert _intents(floor) == []

    floor.run_here()

    assert floor.held() == WHOLE
    assert floor.broken_invariants() == []


def test_fault_39_exits_wait_for_a_disk_that_is_full_and_people_are_told(
    floor: Floor, trading_database: TradingDatabase
) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    floor.run_here()
    floor.next_slot(SignalAction.EXIT)
    with _disk_full(trading_database, "order_intent"):
        for _ in range(2):
            with pytest.raises(Transient, match="No space left"):
                floor.run_here()

        assert floor.held() == WHOLE
        assert floor.states() == ["closing"]
        assert any("No space left" in detail for detail in _alerts(floor))

    floor.run_here()

    assert floor.states() == ["closed"]
    assert floor.held() == {}
    assert floor.broken_invariants() == []


def test_fault_39_where_not_even_an_event_can_be_written_nothing_changes(
    floor: Floor, trading_database: TradingDatabase
) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    floor.run_here()
    floor.next_slot(SignalAction.EXIT)
    with _disk_full(trading_database, "outbox"):
        with pytest.raises(Transient, match="No space left"):
            floor.run_here()

        assert floor.states() == ["open"]
        assert floor.orders() == 2

    floor.run_here()

    assert floor.states() == ["closed"]
    assert floor.broken_invariants() == []


@contextmanager
def _started(floor: Floor, work: Any, *more: Any) -> Iterator[Any]:
    child = floor.processes.Process(target=work, args=(floor.database_url, floor.twin.url, *more))
    child.start()
    try:
        yield child
        child.join(SHORT.total_seconds())
        assert child.exitcode is not None
    finally:
        child.kill()
        child.join()


@contextmanager
def _disk_full(database: TradingDatabase, table: str) -> Iterator[None]:
    """Have every insert into a table end as it does when the server's disk is full."""
    schema = {"order_intent": "execution", "outbox": "ops"}[table]
    with database.server.connect(database.name) as connection:
        connection.execute(
            "CREATE FUNCTION public.no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            " 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
        )
        connection.execute(f"GRANT EXECUTE ON FUNCTION public.no_space() TO {APP_ROLE}")
        connection.execute(
            f"CREATE TRIGGER full_disk BEFORE INSERT ON {schema}.{table} FOR EACH ROW"
            " EXECUTE FUNCTION public.no_space()"
        )
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION public.no_space() CASCADE")


def _end_sessions(database: TradingDatabase) -> None:
    with database.server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,)
        )


def _intents(floor: Floor) -> list[tuple[Any, ...]]:
    query = select(order_intent.c.client_order_id, order_intent.c.version, order_intent.c.state)
    with floor.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(order_intent.c.client_order_id))]


def _alerts(floor: Floor) -> list[str]:
    with floor.engine.connect() as connection:
        return list(connection.execute(select(alert.c.detail)).scalars())
