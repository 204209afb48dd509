"""What a message of the stream is good for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from src.services.execution.domain.order_reports import KNOWN_STATUSES
from src.services.execution.domain.trade_updates import Heard, hear

PREFIX = "tw-twin-"


def update(name: object = "tw-twin-1", event: object = "fill", status: object = "filled", **more: object) -> str:
    order = {"client_order_id": name, "status": status, "surprise": 10**400}
    return json.dumps({"stream": "trade_updates", "data": {"event": event, "order": order, **more}})


def heard(frame: str | bytes) -> Heard:
    return hear(frame, PREFIX, KNOWN_STATUSES)


@pytest.mark.parametrize("frame", [update(), update().encode(), update(qty="1", price="2")])
def test_an_update_of_an_order_of_ours_is_a_hint_as_text_and_as_bytes(frame: str | bytes) -> None:
    assert heard(frame) == Heard(is_hint=True)


def test_an_update_of_somebody_elses_order_is_none() -> None:
    assert heard(update("by-hand")) == Heard(is_hint=False)


@pytest.mark.parametrize("stream", ["authorization", "listening"])
def test_what_the_stream_says_of_itself_is_no_hint(stream: str) -> None:
    assert heard(json.dumps({"stream": stream, "data": {}})) == Heard(is_hint=False)


UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "cut": ('{"stream": "trade_upd', "not JSON"),
    "no text": (b"\xff\xfe\x00", "not JSON"),
    "too deep": ("[" * 100_000, "not JSON"),
    "a list": ("[1]", "not an object"),
    "null": ("null", "not an object"),
    "no stream": ("{}", "stream None"),
    "another stream": ('{"stream": "gossip"}', "stream 'gossip'"),
    "a list for a stream": ('{"stream": []}', "stream []"),
    "no data": ('{"stream": "trade_updates", "data": null}', "names no order"),
    "no order": ('{"stream": "trade_updates", "data": {"event": "fill"}}', "names no order"),
    "no id": (update(name=None), "names no order"),
    "a new event": (update(event="teleported"), "event 'teleported'"),
    "no event": (update(event=None), "event None"),
    "a new status": (update(status="entangled"), "status 'entangled'"),
    "a list for a status": (update(status=["filled"]), "status ['filled']"),
}


@pytest.mark.parametrize(("frame", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_can_not_be_understood_is_set_aside_and_still_a_hint(frame: str | bytes, reason: str) -> None:
    found = heard(frame)

    assert found.is_hint
    assert found.unread is not None
    assert reason in found.unread.reason


def test_an_unknown_event_of_somebody_elses_order_is_set_aside_without_a_look() -> None:
    found: Any = heard(update("by-hand", event="teleported"))

    assert (found.is_hint, found.unread.kind) == (False, "trade_updates")
