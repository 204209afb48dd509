"""Fills after an order's end that somebody heard and could not act on: the next pass finds them in the books."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from src.services.execution.use_cases.desk import Person
from src.services.execution.use_cases.drive import Cycle
from src.shared.domain.errors import Transient
from src.shared.domain.orders import OrderReport
from src.shared.domain.signals import SignalAction
from src.shared.failpoints import Crashed, armed
from tests.fakes.broker import UnreadRow
from tests.integration.execution.desk import HOUR, Desk, given_up_but_placed

ANN = Person("ann", "a drill")


def unwound_then_filled(desk: Desk) -> None:
    """Unwind an entry whose long leg was cancelled, and let the broker fill 4 of that leg afterwards."""
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["never"])
    desk.run()
    assert desk.trade_states() == ["unwound"]
    desk.broker.fill_late(desk.broker.cancels[0], Decimal(4))


@pytest.mark.parametrize("place", ["saved", "step_chosen", "moved", "booked", "before_post"])
def test_a_late_fill_that_a_process_heard_and_died_is_sold_by_the_next_gate(desk: Desk, place: str) -> None:
    unwound_then_filled(desk)
    with pytest.raises(Crashed), armed(f"execution.{place}:exc"):
        desk.service.cycle.open_gate()

    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert ("critical", "leg can't be closed") in desk.alerts()
    assert desk.broken_invariants() == []


def test_a_late_fill_that_was_heard_and_booked_and_nothing_more_is_sold_by_the_next_gate(desk: Desk) -> None:
    unwound_then_filled(desk)
    cycle = desk.service.cycle
    with cycle.store() as work:
        (name,) = desk.broker.cancels
        intent = work.repo.intents_named([name])[name]
        trade = work.repo.trade(intent.pair_trade_id)
    assert trade is not None
    with cycle.become_writer() as epoch:
        driver = cycle.make_driver(Cycle(intent.slot, desk.broker.clock(), cycle.clock.now(), epoch, may_enter=False))
        driver.hear(intent, desk.broker.orders[name])
        driver.settle_books(trade)

    cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


def test_a_late_fill_that_was_heard_and_no_more_is_sold_when_a_person_flattens(desk: Desk) -> None:
    unwound_then_filled(desk)
    with pytest.raises(Crashed), armed("execution.saved:exc"):
        desk.service.cycle.open_gate()

    closing = desk.service.desk.flatten(ANN)

    assert [(each.before.pair_id, each.is_flat) for each in closing.trades] == [("AAA/BBB", True)]
    assert desk.held() == {}


def test_an_order_that_fills_in_part_while_it_is_cancelled_after_its_end_is_sold_again(desk: Desk) -> None:
    name = given_up_but_placed(desk)
    desk.broker._behaviour[name] = "stuck"
    desk.broker.fill_late(name, Decimal(-3))
    order = desk.broker.orders[name]
    desk.broker.orders[name] = replace(order, status="partially_filled")

    left = desk.service.cycle.carry_on(wait=False)
    assert [line for line in left if "still works at the broker" in line]
    desk.broker.orders[name] = replace(order, status="canceled")
    desk.next_hour()
    desk.service.cycle.carry_on(wait=False)

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    desk.next_hour()
    assert desk.service.cycle.open_gate().reconciled
    assert desk.broken_invariants() == []


def test_a_late_fill_of_an_open_trade_is_booked_once_the_broker_shows_it(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(100, -100))
    desk.broker.script["BBB"] = deque(["half"])
    desk.run()
    desk.broker.fill_late(desk.broker.cancels[0], Decimal(-1))
    told_later = desk.broker.fills.pop()
    assert not desk.service.cycle.open_gate().reconciled

    desk.broker.fills.append(told_later)
    gate = desk.service.cycle.open_gate()

    assert gate.reconciled
    assert desk.trade_states() == ["open"]
    assert desk.held() == {"AAA": 50, "BBB": -51}
    assert desk.broken_invariants() == []


def test_an_open_trade_whose_hedge_broke_without_an_order_is_closed_by_the_next_gate(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.next_hour()
    desk.broker.trade_by_hand("AAA", -10)
    with pytest.raises(Crashed), armed("execution.before_write_off:exc"):
        desk.service.desk.write_off("AAA/BBB", "AAA", Decimal(100), ANN)
    assert desk.held_in_the_books() == {"AAA": 10, "BBB": -8}
    with pytest.raises(Crashed), armed("execution.written_off:exc"):
        desk.service.desk.write_off("AAA/BBB", "AAA", Decimal(100), ANN)
    assert desk.held_in_the_books() == {"BBB": -8}
    assert desk.trade_states() == ["open"]

    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["closed"]
    assert desk.held() == {}


def listing(desk: Desk) -> list[datetime]:
    """Return from when the broker's orders are listed from now on."""
    asked: list[datetime] = []
    real = desk.broker.orders_since

    def orders_since(moment: datetime) -> list[OrderReport]:
        asked.append(moment)
        return real(moment)

    desk.broker.orders_since = orders_since  # type: ignore[method-assign]
    return asked


def test_an_open_trade_at_rest_costs_no_request_and_no_second_reading(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.next_hour()
    asked, posts = listing(desk), len(desk.broker.posts)

    assert desk.service.cycle.open_gate().reconciled

    assert len(asked) == 1
    assert len(desk.broker.posts) == posts


def test_a_trade_that_a_late_fill_reopened_is_closed_by_its_pairs_name(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["never"])
    desk.run()
    desk.approve(SignalAction.ENTER_LONG, slot=desk.next_hour(), quantities=(10, -8))
    desk.run()
    desk.next_hour()
    desk.service.desk.close("AAA/BBB", ANN)
    desk.broker.fill_late(desk.broker.cancels[0], Decimal(4))
    desk.broker.script["AAA"] = deque(["reject"] * 3)
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["orphaned", "closed"]
    desk.next_hour()

    closing = desk.service.desk.close("AAA/BBB", ANN)

    assert [each.is_flat for each in closing.trades] == [True]
    assert desk.trade_states() == ["unwound", "closed"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


# While nobody looked


def filled_while_the_host_was_off(desk: Desk) -> None:
    desk.broker.order_by_client_id(given_up_but_placed(desk))
    assert desk.held() == {"BBB": -8}
    desk.broker.now += timedelta(days=3)


def test_an_order_that_filled_while_the_host_was_off_for_days_is_sold_by_the_first_gate(desk: Desk) -> None:
    filled_while_the_host_was_off(desk)

    assert desk.service.cycle.open_gate().reconciled

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert ("critical", "leg can't be closed") in desk.alerts()
    assert desk.broken_invariants() == []


def test_what_the_first_gate_after_days_could_not_read_is_still_in_sight_of_the_next(desk: Desk) -> None:
    filled_while_the_host_was_off(desk)
    real, times = desk.broker.orders_since, []

    def away_at_first(moment: datetime) -> list[OrderReport]:
        times.append(moment)
        if len(times) == 1:
            raise Transient("no answer")
        return real(moment)

    desk.broker.orders_since = away_at_first  # type: ignore[method-assign]
    assert not desk.service.cycle.open_gate().reconciled
    assert desk.held() == {"BBB": -8}

    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}


def test_a_gate_lists_orders_from_a_session_before_the_last_gate_and_no_longer(desk: Desk) -> None:
    desk.service.cycle.open_gate()
    asked = listing(desk)

    for pause in (HOUR, timedelta(days=2), HOUR):
        desk.broker.now += pause
        desk.service.cycle.open_gate()

    assert [f"{moment:%d %H:%M}" for moment in asked] == ["27 15:30", "27 16:30", "03 16:30"]


def test_an_order_whose_row_can_not_be_read_once_is_heard_of_by_the_next_gate_however_old(desk: Desk) -> None:
    name = given_up_but_placed(desk)
    desk.broker.order_by_client_id(name)
    desk.broker.now += timedelta(days=3)
    real = desk.broker.orders_since

    def unread(moment: datetime) -> list[OrderReport]:
        desk.broker.unread.append(UnreadRow("order"))
        return [order for order in real(moment) if order.client_order_id != name]

    desk.broker.orders_since = unread  # type: ignore[method-assign]
    assert not desk.service.cycle.open_gate().reconciled
    desk.broker.orders_since = real  # type: ignore[method-assign]
    desk.broker.now += timedelta(minutes=5)

    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


@pytest.mark.parametrize(
    ("raw", "looks_back"),
    [
        ('{"id": "1", "client_order_id": "by-hand"}', False),
        ('{"id": "1", "client_order_id": "tw-twin-1"}', True),
        ('{"id": "1"', True),
    ],
)
def test_a_row_of_somebody_elses_order_that_can_not_be_read_does_not_make_every_list_longer(
    desk: Desk, raw: str, looks_back: bool
) -> None:
    first = desk.service.cycle.open_gate().slot
    desk.broker.now += timedelta(days=7)
    real = desk.broker.orders_since

    def unread(moment: datetime) -> list[OrderReport]:
        desk.broker.unread.append(UnreadRow("order", raw=raw))
        return real(moment)

    desk.broker.orders_since = unread  # type: ignore[method-assign]
    last = desk.service.cycle.open_gate().slot

    comparison = desk.service.cycle.comparison
    assert (comparison.recently(last) < first) == looks_back
