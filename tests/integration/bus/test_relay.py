"""The relay on PostgreSQL and Redis: every event, in order, at least once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Event as StopEvent
from threading import Thread

import pytest
from sqlalchemy import Engine, delete, func, select, text

from src.shared.domain.errors import Transient
from src.shared.infra.bus.memory import MemoryBus
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.tables import outbox
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.messages.envelope import Envelope
from src.shared.ports.event_bus import Subscription
from tests.conftest import TradingDatabase
from tests.integration.bus.conftest import MortalRedis, Outbox, running
from tests.polling import BOUND, eventually

ROOT = Path(__file__).parents[3]


class BrokenBus(MemoryBus):
    """Publishes so many envelopes, then is away until it is mended."""

    def __init__(self, good_for: int) -> None:
        super().__init__()
        self.good_for = good_for

    def publish(self, envelope: Envelope) -> None:
        if self.good_for <= 0:
            raise Transient("the bus is away")
        self.good_for -= 1
        super().publish(envelope)


def _received(subscription: Subscription) -> list[Envelope]:
    received = []
    while (envelope := subscription.receive(0.2)) is not None:
        received.append(envelope)
    return received


def _receive(subscription: Subscription, count: int) -> list[int]:
    received: list[int] = []

    def enough() -> bool:
        envelope = subscription.receive(0.05)
        received.extend([envelope.position] if envelope else [])
        return len(received) >= count

    eventually(enough)
    return received


def test_events_are_published_in_order_and_marked(engine: Engine, events: Outbox, redis_bus: RedisBus) -> None:
    recorded = events.record(25)

    with redis_bus.subscribe() as subscription:
        published = OutboxRelay(engine, redis_bus, batch=10).drain()
        received = _received(subscription)

    assert published == 25
    assert [envelope.position for envelope in received] == list(range(1, 26))
    assert [envelope.event() for envelope in received] == recorded
    assert events.unpublished() == 0


def test_draining_again_publishes_nothing(engine: Engine, events: Outbox) -> None:
    events.record(3)
    relay = OutboxRelay(engine, MemoryBus())

    assert (relay.drain(), relay.drain()) == (3, 0)


def test_a_limit_holds_and_the_rest_follows(engine: Engine, events: Outbox) -> None:
    events.record(7)
    bus = MemoryBus()
    relay = OutboxRelay(engine, bus, batch=2)

    with bus.subscribe() as subscription:
        counts = [relay.drain(limit=5), relay.drain(limit=5)]
        assert [envelope.position for envelope in _received(subscription)] == [1, 2, 3, 4, 5, 6, 7]
    assert counts == [5, 2]


def test_what_is_not_committed_is_not_published(engine: Engine, events: Outbox) -> None:
    with engine.connect() as connection:
        connection.execute(outbox.insert().values(outbox_row(events.fresh())))

        assert OutboxRelay(engine, MemoryBus()).drain() == 0


def test_who_inserted_early_and_commits_late_gets_the_higher_position(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()
    relay = OutboxRelay(engine, bus)

    with engine.connect() as slow, bus.subscribe() as subscription:
        slow.execute(outbox.insert().values(outbox_row(events.fresh())))
        events.record(2)
        relay.drain()
        slow.commit()
        relay.drain()

        assert [envelope.position for envelope in _received(subscription)] == [1, 2, 3]
    assert events.positions() == [3, 1, 2]


def test_positions_go_on_after_the_outbox_was_cleared_out(engine: Engine, events: Outbox) -> None:
    relay = OutboxRelay(engine, MemoryBus())
    events.record(3)
    relay.drain()
    with engine.begin() as connection:
        connection.execute(delete(outbox))

    events.record(1)
    relay.drain()

    assert events.positions() == [4]


def test_two_relays_at_once_publish_each_event_once_in_order(
    engine: Engine, events: Outbox, redis_bus: RedisBus
) -> None:
    relays = [OutboxRelay(engine, redis_bus, batch=3, poll_seconds=0.05) for _ in range(2)]

    with redis_bus.subscribe() as subscription, running(*(relay.run for relay in relays)):
        events.record(40)
        eventually(lambda: events.unpublished() == 0)
        received = _received(subscription)

    assert [envelope.position for envelope in received] == list(range(1, 41))


def test_a_candidate_takes_over_when_the_relay_loses_its_connection(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()
    relays = [OutboxRelay(engine, bus, poll_seconds=0.05) for _ in range(2)]

    with bus.subscribe() as subscription, running(*(relay.run for relay in relays)):
        for round_ in range(1, 4):
            events.record(2)
            assert _receive(subscription, 2) == [2 * round_ - 1, 2 * round_]
            # Marked, too: a relay that dies before the mark publishes again, which is another test.
            eventually(lambda: events.unpublished() == 0)
            _end_the_leader(engine)


def test_a_one_shot_leaves_the_work_to_the_relay_at_work(engine: Engine, events: Outbox) -> None:
    events.record(1)
    with engine.connect() as leader:
        leader.execute(select(func.pg_advisory_lock(lock_key("outbox-relay"))))
        assert OutboxRelay(engine, MemoryBus()).drain() == 0
        leader.execute(select(func.pg_advisory_unlock(lock_key("outbox-relay"))))

    assert OutboxRelay(engine, MemoryBus()).drain() == 1


def test_a_notification_wakes_a_relay_that_would_look_again_in_an_hour(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()
    stop = StopEvent()
    relay = Thread(target=OutboxRelay(engine, bus, poll_seconds=3600).run, args=(stop,), daemon=True)

    with bus.subscribe() as subscription:
        relay.start()
        for position in (1, 2, 3):
            events.record(1)
            assert _receive(subscription, 1) == [position]
        stop.set()
        events.record(1)
        relay.join(BOUND)

    assert not relay.is_alive()


def test_a_bus_that_breaks_half_way_gets_the_rest_later_in_order(engine: Engine, events: Outbox) -> None:
    events.record(5)
    bus = BrokenBus(good_for=2)
    relay = OutboxRelay(engine, bus)

    with bus.subscribe() as subscription:
        with pytest.raises(Transient, match="the bus is away"):
            relay.drain()
        left = events.unpublished()
        bus.good_for = 100
        relay.drain()
        received = [envelope.position for envelope in _received(subscription)]

    assert left == 3
    assert received == [1, 2, 3, 4, 5]


def test_events_have_their_positions_while_the_bus_is_away(engine: Engine, events: Outbox) -> None:
    events.record(2)

    with pytest.raises(Transient):
        OutboxRelay(engine, BrokenBus(good_for=0)).drain()

    assert events.positions() == [1, 2]


def test_redis_killed_and_back_the_outbox_drains(engine: Engine, events: Outbox, mortal_redis: MortalRedis) -> None:
    bus = RedisBus(mortal_redis.url)
    relay = OutboxRelay(engine, bus, poll_seconds=0.05)

    with running(relay.run):
        events.record(2)
        eventually(lambda: events.unpublished() == 0)
        mortal_redis.kill()
        events.record(3)
        eventually(lambda: None not in events.positions())
        assert events.unpublished() == 3
        mortal_redis.start()
        eventually(lambda: events.unpublished() == 0)
    bus.close()


def test_killed_between_publish_and_mark_the_event_is_published_again(
    trading_database: TradingDatabase, engine: Engine, events: Outbox, mortal_redis: MortalRedis
) -> None:
    events.record(2)
    bus = RedisBus(mortal_redis.url)

    with bus.subscribe() as subscription:
        exit_code = kill_after_publish(trading_database.app_url, mortal_redis.url)
        eventually(lambda: OutboxRelay(engine, bus).drain() == 2)
        received = [envelope.position for envelope in _received(subscription)]
    bus.close()

    assert exit_code == -9
    assert received == [1, 1, 2]


def kill_after_publish(database_url: str, redis_url: str) -> int:
    """Run a relay in a process that dies by SIGKILL right after its first publish; return its exit code."""
    program = Path(__file__).with_name("relay_that_dies.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), database_url, redis_url]
    return subprocess.run(command, env=environment, check=False, timeout=60).returncode


def _end_the_leader(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> "
                "pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
