"""What every bus does. The same tests for the bus in memory and the bus on Redis."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from src.shared.infra.bus.memory import MemoryBus
from src.shared.infra.bus.redis import RedisBus
from src.shared.messages.base import Event
from src.shared.messages.envelope import Envelope
from src.shared.messages.ops import AlertRaised
from src.shared.messages.orders import OrderFilled, PairClosed
from src.shared.ports.event_bus import EventBus
from tests.fakes.events import example

SOON = 10.0
"""Bound for what is expected to come."""

NEVER = 0.2
"""How long to look for what must not come."""


@pytest.fixture(params=["memory", "redis"])
def bus(request: pytest.FixtureRequest) -> Iterator[EventBus]:
    made: EventBus = (
        MemoryBus() if request.param == "memory" else RedisBus(request.getfixturevalue("embedded_redis").url())
    )
    yield made
    made.close()


def _envelope(event_type: type[Event], position: int = 1) -> Envelope:
    event = example(event_type, version=position)
    payload = event.model_dump(mode="json")
    return Envelope(position=position, event_id=event.event_id, channel=event.channel(), payload=payload)


def test_what_is_published_arrives_whole(bus: EventBus) -> None:
    envelope = _envelope(PairClosed)

    with bus.subscribe() as subscription:
        bus.publish(envelope)

        assert subscription.receive(SOON) == envelope


def test_envelopes_arrive_in_the_order_of_publishing(bus: EventBus) -> None:
    envelopes = [_envelope(OrderFilled, position) for position in range(1, 51)]

    with bus.subscribe() as subscription:
        for envelope in envelopes:
            bus.publish(envelope)

        assert [subscription.receive(SOON) for _ in envelopes] == envelopes


def test_only_matching_channels_arrive(bus: EventBus) -> None:
    wanted, unwanted = _envelope(PairClosed, 2), _envelope(AlertRaised, 1)

    with bus.subscribe(["tradewinds.orders.*", "tradewinds.risk.*"]) as subscription:
        bus.publish(unwanted)
        bus.publish(wanted)

        assert subscription.receive(SOON) == wanted
        assert subscription.receive(NEVER) is None


def test_a_full_channel_name_is_a_pattern_too(bus: EventBus) -> None:
    with bus.subscribe([AlertRaised.channel()]) as subscription:
        bus.publish(_envelope(PairClosed, 1))
        bus.publish(_envelope(AlertRaised, 2))

        received = subscription.receive(SOON)

    assert received is not None
    assert received.position == 2


def test_every_subscriber_gets_every_envelope(bus: EventBus) -> None:
    envelope = _envelope(PairClosed)

    with bus.subscribe() as first, bus.subscribe() as second:
        bus.publish(envelope)

        assert first.receive(SOON) == envelope
        assert second.receive(SOON) == envelope


def test_nothing_is_kept_for_those_who_come_later(bus: EventBus) -> None:
    bus.publish(_envelope(PairClosed, 1))

    with bus.subscribe() as subscription:
        assert subscription.receive(NEVER) is None


def test_publishing_to_nobody_is_fine(bus: EventBus) -> None:
    with bus.subscribe() as subscription:
        subscription.close()
        subscription.close()

    bus.publish(_envelope(PairClosed))


def test_receiving_with_no_time_takes_what_is_there(bus: EventBus) -> None:
    with bus.subscribe() as subscription:
        assert subscription.receive(0) is None


def test_a_receiver_is_woken_by_another_thread(bus: EventBus) -> None:
    envelope = _envelope(PairClosed)

    with bus.subscribe() as subscription:
        speaker = Thread(target=bus.publish, args=(envelope,))
        speaker.start()
        received = subscription.receive(SOON)
        speaker.join()

    assert received == envelope
