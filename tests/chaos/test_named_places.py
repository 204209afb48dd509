"""Where a process must not die, and dies: around a request to the broker, and around the publishing of an event."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import create_engine, select

from src.shared.infra.bus.redis import RedisBus, RedisSubscription
from src.shared.infra.database.tables import order_intent, outbox
from tests.chaos.scene import Outcome, Scene, Stage
from tests.polling import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
KILLED = -signal.SIGKILL


def test_fault_01_killed_before_the_request_the_next_run_sends_it_once_under_the_same_id(
    slot_scene: Scene, undisturbed: Outcome
) -> None:
    with slot_scene.fresh() as stage:
        before, left = _posts(stage), _being_sent(stage)
        assert stage.run("execution.before_post:kill") == KILLED
        (said,) = _being_sent(stage) - left
        assert _posts(stage) == before
        assert said not in stage.outcome().orders

        assert stage.run() == 0

        assert said in stage.outcome().orders
        assert _posts(stage) == len(stage.outcome().orders)
        assert stage.complaints() == []
        assert stage.outcome() == undisturbed


def test_fault_02_killed_after_the_broker_took_it_the_next_run_adopts_the_order_and_sends_nothing_again(
    slot_scene: Scene, undisturbed: Outcome
) -> None:
    with slot_scene.fresh() as stage:
        left = _being_sent(stage)
        assert stage.run("execution.after_post:kill") == KILLED
        (taken,) = _being_sent(stage) - left
        assert taken in stage.outcome().orders

        assert stage.run() == 0

        assert _being_sent(stage) == set()
        assert _posts(stage) == len(stage.outcome().orders)
        assert stage.complaints() == []
        assert stage.outcome() == undisturbed


def test_fault_03_killed_after_the_commit_the_event_is_published_by_the_next_run(slot_scene: Scene) -> None:
    with slot_scene.fresh() as stage, _listening(stage) as wire:
        assert stage.run("relay.before_publish:kill") == KILLED
        waiting = _unpublished(stage)
        assert waiting
        assert _heard(wire, set()) == Counter()

        assert stage.run() == 0

        assert _heard(wire, waiting) >= Counter(waiting)
        assert _unpublished(stage) == set()
        assert stage.complaints() == []


def test_fault_04_killed_before_the_mark_the_event_is_published_twice_and_has_one_effect(slot_scene: Scene) -> None:
    with slot_scene.fresh() as stage, _listening(stage) as wire:
        assert stage.run("relay.after_publish:kill") == KILLED
        told = _unpublished(stage)
        first = _heard(wire, set(), at_least=1)
        assert set(first) <= told

        assert stage.run() == 0

        again = _heard(wire, told)
        assert [again[event] for event in first] == [1]
        # That what was told twice had one effect is among what it complains of.
        assert stage.complaints() == []


def _posts(stage: Stage) -> int:
    return int(stage.twin.admin.state()["order_posts"])


def _being_sent(stage: Stage) -> set[str]:
    """What a process was about to send when it ended; the scene begins with one of its own."""
    query = select(order_intent.c.client_order_id).where(order_intent.c.state == "sending")
    return {str(name) for name in _column(stage, query)}


def _unpublished(stage: Stage) -> set[UUID]:
    return set(_column(stage, select(outbox.c.event_id).where(outbox.c.published_at.is_(None))))


def _column(stage: Stage, query: object) -> list[UUID]:
    engine = create_engine(stage.environment["TRADEWINDS_DATABASE_URL"])
    try:
        with engine.connect() as connection:
            return list(connection.execute(query).scalars())  # type: ignore[call-overload]
    finally:
        engine.dispose()


@contextmanager
def _listening(stage: Stage) -> Iterator[RedisSubscription]:
    bus = RedisBus(stage.environment["TRADEWINDS_REDIS_URL"])
    with bus.subscribe() as wire:
        yield wire
    bus.close()


def _heard(wire: RedisSubscription, wanted: set[UUID], at_least: int = 0) -> Counter[UUID]:
    """Hear what was published so far, at least all that is wanted."""
    heard: Counter[UUID] = Counter()

    def listen() -> bool:
        while (envelope := wire.receive(0.05)) is not None:
            heard[envelope.event_id] += 1
        return wanted <= set(heard) and heard.total() >= at_least

    eventually(listen)
    return heard
