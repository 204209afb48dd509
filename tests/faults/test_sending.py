"""Rows 6 to 9 and 11 to 13: what becomes of an order whose answer is late, spoilt, or never comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from src.shared.domain.errors import Terminal, Transient
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.rate_limit import MinuteLimiter
from tests.faults.scene import ENTER, FOR_EVER, LOOK_UP, ORDERS, A, B, Scene

BOTH_LEGS = [(B, -4, "filled"), (A, 5, "filled")]
OPEN = {A: 5, B: -4}
LEGS = pytest.mark.parametrize("leg", [B, A], ids=["first leg", "second leg"])
IMPATIENT = pytest.mark.parametrize("read_seconds", [1.0], ids=["1 s"])
LOOK_UP_SECONDS = 30
NOT_ANSWERS: dict[str, dict[str, Any]] = {
    **{
        f"{status} {body}": {"kind": "status", "status": status, "body": body}
        for status in (500, 502, 503)
        for body in ("json", "html")
    },
    "302": {"kind": "redirect"},
    "200 empty": {"kind": "empty"},
    "200 html": {"kind": "html"},
    "200 truncated": {"kind": "truncated"},
}
"""Row 11."""

NO_ANSWERS: dict[str, dict[str, Any]] = {
    "reset": {"kind": "reset"},
    "reset after the order": {"kind": "accept_then_reset"},
    "closed": {"kind": "drop"},
    "hang": {"kind": "hang", "seconds": 3},
    "hang after the headers": {"kind": "hang", "seconds": 3, "after_headers": True},
}
"""Row 12."""


@LEGS
@IMPATIENT
def test_fault_06_a_request_that_times_out_and_was_taken_is_found_and_not_sent_again(scene: Scene, leg: str) -> None:
    scene.lie("accept_then_timeout", endpoint=ORDERS, symbol=leg, times=1, seconds=3)

    scene.enter()

    assert scene.posts == 2
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


@LEGS
@IMPATIENT
def test_fault_07_a_request_that_times_out_and_was_not_taken_is_sent_again_once_with_its_id_after_the_look_ups(
    scene: Scene, leg: str
) -> None:
    scene.lie("drop", endpoint=ORDERS, symbol=leg, times=1, seconds=3)
    lookups = scene.lie("latency", endpoint=LOOK_UP, client_order_id=scene.name(2 if leg == B else 1), seconds=0)

    scene.enter()

    assert scene.posts == 3
    assert scene.orders == BOTH_LEGS
    waited = scene.waited_before_sending()
    assert max(waited) >= LOOK_UP_SECONDS
    assert sorted(waited)[0] == 0
    assert scene.times_told(lookups) > 3
    scene.comes_to_rest(["open"], OPEN)


def test_fault_07_a_request_that_nobody_ever_takes_is_sent_twice_a_pass_and_given_up_with_its_hour(
    scene: Scene,
) -> None:
    scene.lie("reset", endpoint=ORDERS)

    with pytest.raises(Transient, match="sent twice without an answer"):
        scene.enter()
    assert (scene.posts, scene.orders) == (2, [])
    scene.next_hour()
    scene.run()

    assert (scene.posts, scene.orders) == (2, [])
    scene.comes_to_rest(["abandoned"], {})


@LEGS
def test_fault_08_an_order_that_no_list_shows_for_five_seconds_is_waited_for(scene: Scene, leg: str) -> None:
    scene.lie("status", endpoint=ORDERS, symbol=leg, status=503, processed=True, times=1)
    hidden = scene.lie("invisible", symbol=leg, seconds=FOR_EVER)
    scene.clock.put_off(5, lambda: scene.end(hidden))

    scene.enter()

    assert scene.posts == 2
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


def test_fault_08_an_order_that_is_shown_only_after_its_second_request_is_still_one(scene: Scene) -> None:
    scene.lie("status", endpoint=ORDERS, symbol=B, status=503, processed=True, times=1)
    hidden = scene.lie("invisible", symbol=B, seconds=FOR_EVER)
    scene.clock.put_off(LOOK_UP_SECONDS + 5, lambda: scene.end(hidden))

    scene.enter()

    assert scene.posts == 3
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_fault_09_a_504_for_an_order_that_was_taken_is_one_request(scene: Scene, body: str) -> None:
    scene.lie("status", endpoint=ORDERS, status=504, body=body, processed=True)

    scene.enter()

    assert scene.posts == 2
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


@pytest.mark.parametrize("answer", NOT_ANSWERS.values(), ids=NOT_ANSWERS)
def test_fault_11_an_order_that_is_answered_with_anything_but_an_order_is_looked_up(
    scene: Scene, answer: dict[str, Any]
) -> None:
    acted = answer if answer["kind"] == "truncated" else answer | {"processed": True}
    scene.lie(endpoint=ORDERS, **acted)

    scene.enter()

    assert scene.posts == 2
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


@pytest.mark.parametrize("answer", NOT_ANSWERS.values(), ids=NOT_ANSWERS)
def test_fault_11_a_question_that_is_not_answered_is_asked_again_by_a_later_run(
    scene: Scene, answer: dict[str, Any]
) -> None:
    scene.lie(endpoint="GET /v2/clock", times=1, **answer)
    scene.lie(endpoint=LOOK_UP, times=1, **answer)
    scene.approve(ENTER)

    with pytest.raises(Transient):
        scene.run()
    assert scene.posts == 0
    with pytest.raises(Transient):
        scene.run()
    assert (scene.posts, scene.states()) == (1, ["opening"])
    scene.run()

    assert scene.posts == 2
    scene.comes_to_rest(["open"], OPEN)


@IMPATIENT
@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_fault_12_an_order_whose_connection_breaks_or_hangs_is_one_order(
    scene: Scene, answer: dict[str, Any]
) -> None:
    scene.lie(endpoint=ORDERS, times=1, **answer)

    scene.enter()

    assert scene.posts == (2 if answer["kind"].startswith("accept") else 3)
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


@IMPATIENT
@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_fault_12_a_run_that_gets_no_answers_ends_and_the_next_one_goes_on(
    scene: Scene, answer: dict[str, Any]
) -> None:
    scene.lie(endpoint="GET *", **answer)
    scene.approve(ENTER)

    with pytest.raises(Transient):
        scene.run()

    assert (scene.posts, scene.states()) == (0, [])
    scene.comes_to_rest(["open"], OPEN)


def test_fault_12_an_order_whose_connection_is_refused_is_sent_again_when_somebody_listens(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = replace(scene.broker._endpoints, trading_url=f"http://127.0.0.1:{free_port()}")
    dead = AlpacaClient(nobody, MinuteLimiter(10_000))
    monkeypatch.setattr(scene.broker, "submit_market_order", dead.submit_market_order)
    scene.clock.put_off(5, monkeypatch.undo)

    scene.enter()

    assert scene.posts == 2
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


def test_fault_13_an_order_that_is_there_already_and_is_the_one_we_meant_is_adopted(scene: Scene) -> None:
    name = scene.name(2)
    scene.just_before_sending(name, lambda: scene.twin.order_by_hand(B, -4, client_order_id=name))

    scene.enter()

    assert scene.posts == 3
    assert scene.orders == BOTH_LEGS
    scene.comes_to_rest(["open"], OPEN)


def test_fault_13_an_order_that_is_there_already_and_is_another_one_is_put_aside(scene: Scene) -> None:
    name = scene.name(2)
    scene.just_before_sending(name, lambda: scene.twin.order_by_hand(B, -7, client_order_id=name))

    with pytest.raises(Terminal, match="a person has to look"):
        scene.enter()

    assert scene.quarantined() == ["order"]
    assert ("critical", "a trade can't be carried on") in scene.alerts()
    assert not scene.service.cycle.open_gate().reconciled
    assert scene.posts == 2
    assert (scene.states(), scene.orders, scene.held) == (["opening"], [(B, -7, "filled")], {B: -7})
