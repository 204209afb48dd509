"""Events survive the way over the bus, whatever class they are of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import pytest

from src.shared import messages
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.messages.base import Event
from src.shared.messages.envelope import EVENT_TYPES, Envelope, EventUnreadable
from src.shared.messages.ops import AlertRaised
from tests.fakes.events import example


def _leaves(event_type: type[Event]) -> Iterator[type[Event]]:
    below = event_type.__subclasses__()
    if not below:
        yield event_type
    for subclass in below:
        yield from _leaves(subclass)


def _every_event_class() -> list[type[Event]]:
    for module in Path(str(messages.__path__[0])).glob("*.py"):
        import_module(f"src.shared.messages.{module.stem}")
    return [leaf for leaf in _leaves(Event) if leaf.__module__.startswith("src.")]


@pytest.mark.parametrize("event_type", EVENT_TYPES.values(), ids=lambda event_type: event_type.__name__)
def test_an_event_is_the_same_after_outbox_and_bus(event_type: type[Event]) -> None:
    event = example(event_type)

    row = json.loads(json.dumps(outbox_row(event)["payload"]))
    envelope = Envelope(position=7, event_id=event.event_id, channel=event.channel(), payload=row)
    arrived = Envelope.model_validate_json(envelope.model_dump_json())

    assert arrived == envelope
    assert arrived.event() == event
    assert type(arrived.event()) is event_type


def test_every_event_class_can_be_read_back() -> None:
    assert set(EVENT_TYPES.values()) == set(_every_event_class())


def test_no_two_event_classes_share_a_channel() -> None:
    channels = Counter(event_type.channel() for event_type in _every_event_class())

    assert [channel for channel, count in channels.items() if count > 1] == []
    assert all(re.fullmatch(r"tradewinds\.[a-z_]+\.[A-Za-z]+", channel) for channel in channels)


def test_an_unknown_channel_is_said_by_name() -> None:
    envelope = Envelope(position=1, event_id=uuid4(), channel="tradewinds.orders.OrderTeleported", payload={})

    with pytest.raises(EventUnreadable, match="OrderTeleported"):
        envelope.event()


def test_a_payload_that_does_not_fit_says_which_field() -> None:
    event = example(AlertRaised)
    payload = {**event.model_dump(mode="json"), "severity": "apocalyptic"}
    envelope = Envelope(position=1, event_id=event.event_id, channel=event.channel(), payload=payload)

    with pytest.raises(EventUnreadable, match="severity"):
        envelope.event()
