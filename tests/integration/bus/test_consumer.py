"""The consumer on PostgreSQL and Redis: effects once, in order, whatever fails in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Event as StopEvent
from threading import Lock, Thread
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update

from src.shared.domain.errors import InputInvalid, Transient, Unreachable
from src.shared.infra.bus.consumer import Consumer, Handler
from src.shared.infra.bus.memory import MemoryBus
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.tables import alert, audit_log, consumed_event, consumer_position, outbox
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.messages.envelope import Envelope
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import PairClosed
from tests.conftest import TradingDatabase
from tests.fakes.events import example
from tests.integration.bus.conftest import MortalRedis, Outbox, running
from tests.integration.bus.test_relay import kill_after_publish
from tests.polling import BOUND, eventually


def write_down(connection: Connection, envelope: Envelope) -> None:
    """An effect in the database: one row an event."""
    connection.execute(
        insert(audit_log).values(
            who="consumer", what="saw", subject=str(envelope.event_id), why=str(envelope.position)
        )
    )


def effects(engine: Engine) -> list[int]:
    """Positions of the events that had their effect, in the order in which they had it."""
    with engine.connect() as connection:
        return [
            int(why) for why in connection.execute(select(audit_log.c.why).order_by(audit_log.c.audit_id)).scalars()
        ]


class FailsFor:
    """Handles all but some positions, and those too once `fails` is emptied."""

    def __init__(self, *fails: int, error: Callable[[], Exception] = lambda: ValueError("can't do it")) -> None:
        self.fails = set(fails)
        self.tries = 0
        self._error = error

    def __call__(self, connection: Connection, envelope: Envelope) -> None:
        write_down(connection, envelope)
        if envelope.position in self.fails:
            self.tries += 1
            raise self._error()


def consumer(engine: Engine, handler: Handler = write_down, name: str = "test") -> Consumer:
    return Consumer(name, engine, handler, retry_pause_seconds=0, poll_seconds=0.1, batch=7)


def relay(engine: Engine) -> None:
    OutboxRelay(engine, MemoryBus()).drain()


def test_a_consumer_handles_every_event_once_in_order(engine: Engine, events: Outbox) -> None:
    events.record(20)
    relay(engine)

    assert (consumer(engine).catch_up(), consumer(engine).catch_up()) == (20, 0)
    assert effects(engine) == list(range(1, 21))


@pytest.mark.parametrize("error", [Transient("the mail server is away"), Unreachable("no such host")])
def test_what_a_handler_needs_is_waited_for_and_nothing_is_parked(
    engine: Engine, events: Outbox, error: Exception
) -> None:
    events.record(3)
    relay(engine)
    handler = FailsFor(2, error=lambda: error)

    with pytest.raises(type(error)):
        consumer(engine, handler).catch_up()
    before = effects(engine)
    handler.fails.clear()

    assert consumer(engine, handler).catch_up() == 2
    assert (before, effects(engine)) == ([1], [1, 2, 3])
    with engine.connect() as connection:
        assert connection.execute(select(alert)).all() == []


def test_consumers_of_different_names_do_not_take_from_each_other(engine: Engine, events: Outbox) -> None:
    events.record(2)
    relay(engine)

    assert [consumer(engine, name=name).catch_up() for name in ("one", "two")] == [2, 2]


def test_a_consumer_that_was_down_catches_up_then_follows(
    engine: Engine, events: Outbox, redis_bus: RedisBus
) -> None:
    events.record(5)
    relay(engine)

    with running(partial(consumer(engine).run, redis_bus), OutboxRelay(engine, redis_bus, poll_seconds=0.1).run):
        eventually(lambda: len(effects(engine)) == 5)
        events.record(5)
        eventually(lambda: len(effects(engine)) == 10)

    assert effects(engine) == list(range(1, 11))


def test_the_bus_wakes_a_consumer_that_would_look_again_in_an_hour(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()
    stop = StopEvent()
    sleepy = Consumer("test", engine, write_down, poll_seconds=3600)
    thread = Thread(target=sleepy.run, args=(bus, stop), daemon=True)
    events.record(1)
    relay(engine)

    thread.start()
    eventually(lambda: effects(engine) == [1])
    eventually(lambda: _publish_next(engine, events, bus) and len(effects(engine)) > 1)
    stop.set()
    _poke(bus, 10**6)
    thread.join(BOUND)

    assert not thread.is_alive()


def test_a_gap_on_the_bus_is_read_from_the_outbox(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()

    with running(partial(Consumer("test", engine, write_down, poll_seconds=0.1).run, bus)):
        events.record(4)
        # All four have positions, the bus tells of the last one only.
        relay(engine)
        _poke(bus, 4)
        eventually(lambda: effects(engine) == [1, 2, 3, 4])


def test_a_message_about_nothing_has_no_effect(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()

    with running(partial(consumer(engine).run, bus)):
        _poke(bus, 99)
        events.record(1)
        relay(engine)
        eventually(lambda: effects(engine) == [1])

    assert effects(engine) == [1]


def test_an_event_published_twice_after_a_kill_has_its_effect_once(
    trading_database: TradingDatabase, engine: Engine, events: Outbox, mortal_redis: MortalRedis
) -> None:
    bus = RedisBus(mortal_redis.url)
    events.record(3)

    with running(partial(consumer(engine).run, bus)), bus.subscribe() as witness:
        assert kill_after_publish(trading_database.app_url, mortal_redis.url) == -9
        eventually(lambda: OutboxRelay(engine, bus).drain() == 3)
        published = [received.position for _ in range(4) if (received := witness.receive(BOUND))]
        eventually(lambda: len(effects(engine)) == 3)
    bus.close()

    assert published == [1, 1, 2, 3]
    assert effects(engine) == [1, 2, 3]


def test_an_event_that_gets_another_position_is_known_by_its_id(engine: Engine, events: Outbox) -> None:
    (event,) = events.record(1)
    relay(engine)
    consumer(engine).catch_up()
    with engine.begin() as connection:
        connection.execute(update(outbox).where(outbox.c.event_id == event.event_id).values(position=50))

    assert consumer(engine).catch_up() == 0
    assert effects(engine) == [1]


def test_redis_away_the_consumer_reads_the_outbox(engine: Engine, events: Outbox, mortal_redis: MortalRedis) -> None:
    bus = RedisBus(mortal_redis.url)

    with running(partial(consumer(engine).run, bus), OutboxRelay(engine, bus, poll_seconds=0.1).run):
        events.record(2)
        eventually(lambda: effects(engine) == [1, 2])
        mortal_redis.kill()
        events.record(2)
        eventually(lambda: effects(engine) == [1, 2, 3, 4])
        mortal_redis.start()
        events.record(2)
        eventually(lambda: events.unpublished() == 0 and len(effects(engine)) == 6)
    bus.close()

    assert effects(engine) == [1, 2, 3, 4, 5, 6]


def test_connections_that_are_ended_delay_but_lose_and_double_nothing(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()

    with running(partial(consumer(engine).run, bus), OutboxRelay(engine, bus, poll_seconds=0.05).run):
        for round_ in range(1, 4):
            events.record(5)
            _end_all_connections(engine)
            eventually(partial(_has_effects, engine, 5 * round_))

    assert effects(engine) == list(range(1, 16))


def test_transactions_that_commit_out_of_order_are_all_delivered_once(engine: Engine, events: Outbox) -> None:
    bus = MemoryBus()
    lock, total = Lock(), 60
    todo = [events.fresh() for _ in range(total)]

    def write(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  (no secret)
        while True:
            with lock:
                if not todo:
                    return
                event = todo.pop()
            with engine.connect() as connection:
                connection.execute(outbox.insert().values(outbox_row(event)))
                connection.execute(select(text("pg_sleep(:pause)")).params(pause=chance.uniform(0, 0.05)))
                connection.commit()

    writers = [Thread(target=write, args=(seed,)) for seed in range(4)]
    with running(partial(consumer(engine).run, bus), OutboxRelay(engine, bus, batch=5, poll_seconds=0.05).run):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(BOUND)
        eventually(lambda: len(effects(engine)) == total)

    assert effects(engine) == list(range(1, total + 1))


def test_two_processes_of_one_consumer_share_the_work_without_doubling(engine: Engine, events: Outbox) -> None:
    events.record(40)
    relay(engine)
    both = [consumer(engine) for _ in range(2)]
    counts: list[int] = []

    threads = [Thread(target=lambda one=one: counts.append(one.catch_up())) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)

    assert sum(counts) == 40
    assert effects(engine) == list(range(1, 41))


def test_a_handler_that_fails_leaves_no_effect_and_its_event_is_parked(engine: Engine, events: Outbox) -> None:
    recorded = events.record(3)
    relay(engine)
    handler = FailsFor(2)

    handled = consumer(engine, handler).catch_up()

    assert handled == 2
    assert handler.tries == 3
    assert effects(engine) == [1, 3]
    with engine.connect() as connection:
        row = connection.execute(select(alert)).one()
    assert row.severity == "error"
    assert str(recorded[1].event_id) in row.detail
    assert "ValueError: can't do it" in row.detail
    assert row.correlation_id == recorded[1].correlation_id


def test_a_handler_whose_statement_fails_is_parked_too(engine: Engine, events: Outbox) -> None:
    events.record(2)
    relay(engine)

    def handler(connection: Connection, envelope: Envelope) -> None:
        write_down(connection, envelope)
        if envelope.position == 1:
            connection.execute(text("SELECT 1 / 0"))

    assert consumer(engine, handler).catch_up() == 1
    assert effects(engine) == [2]


def test_a_handler_that_recovers_is_not_parked(engine: Engine, events: Outbox) -> None:
    events.record(1)
    relay(engine)
    tries = iter([ValueError("once"), ValueError("twice"), None])

    def handler(connection: Connection, envelope: Envelope) -> None:
        if error := next(tries):
            raise error
        write_down(connection, envelope)

    assert consumer(engine, handler).catch_up() == 1
    with engine.connect() as connection:
        assert connection.execute(select(alert)).all() == []


def test_a_parked_event_can_be_replayed_once(engine: Engine, events: Outbox) -> None:
    recorded = events.record(2)
    relay(engine)
    handler = FailsFor(1)
    late = consumer(engine, handler)
    late.catch_up()
    handler.fails.clear()

    assert [late.replay(recorded[0].event_id), late.replay(recorded[0].event_id)] == [True, False]
    assert effects(engine) == [2, 1]


def test_replaying_what_the_outbox_does_not_hold_is_said(engine: Engine) -> None:
    with pytest.raises(InputInvalid, match="holds no event"):
        consumer(engine).replay(uuid4())


def test_a_database_that_went_away_parks_nothing(engine: Engine, events: Outbox) -> None:
    events.record(1)
    relay(engine)

    def handler(connection: Connection, envelope: Envelope) -> None:
        write_down(connection, envelope)
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Transient):
        consumer(engine, handler).catch_up()

    assert consumer(engine).catch_up() == 1
    assert effects(engine) == [1]
    with engine.connect() as connection:
        assert connection.execute(select(alert)).all() == []


def test_only_wanted_channels_are_handled_and_the_rest_is_passed_by(engine: Engine, events: Outbox) -> None:
    events.record(3)
    with engine.begin() as connection:
        connection.execute(outbox.insert().values(outbox_row(example(PairClosed))))
    relay(engine)

    picky = Consumer("picky", engine, write_down, patterns=[AlertRaised.channel()])

    assert (picky.catch_up(), picky.catch_up()) == (3, 0)
    assert _position(engine, "picky") == 4


def test_old_marks_are_cleared_out_and_recent_ones_stay(engine: Engine, events: Outbox) -> None:
    events.record(2)
    relay(engine)
    with engine.begin() as connection:
        for consumer_name in ("test", "other"):
            connection.execute(
                insert(consumed_event).values(
                    consumer=consumer_name, event_id=uuid4(), recorded_at=text("now() - interval '8 days'")
                )
            )

    Consumer("test", engine, write_down, remember=timedelta(days=7)).catch_up()

    assert [len(_marks(engine, name)) for name in ("test", "other")] == [2, 1]


def test_a_stopped_consumer_goes_on_where_it_was(engine: Engine, events: Outbox) -> None:
    events.record(5)
    relay(engine)
    stop = StopEvent()

    def handler(connection: Connection, envelope: Envelope) -> None:
        write_down(connection, envelope)
        if envelope.position == 2:
            stop.set()

    assert consumer(engine, handler).catch_up(stop) == 2
    assert _position(engine, "test") == 2
    assert consumer(engine).catch_up() == 3
    assert effects(engine) == [1, 2, 3, 4, 5]


def _has_effects(engine: Engine, count: int) -> bool:
    return len(effects(engine)) == count


def _position(engine: Engine, name: str) -> int:
    with engine.connect() as connection:
        return int(
            connection.execute(
                select(consumer_position.c.position).where(consumer_position.c.consumer == name)
            ).scalar_one()
        )


def _marks(engine: Engine, name: str) -> list[UUID]:
    with engine.connect() as connection:
        return list(
            connection.execute(select(consumed_event.c.event_id).where(consumed_event.c.consumer == name)).scalars()
        )


def _poke(bus: MemoryBus, position: int) -> bool:
    bus.publish(Envelope(position=position, event_id=uuid4(), channel="tradewinds.ops.AlertRaised", payload={}))
    return True


def _publish_next(engine: Engine, events: Outbox, bus: MemoryBus) -> bool:
    events.record(1)
    OutboxRelay(engine, bus).drain()
    return True


def _end_all_connections(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
