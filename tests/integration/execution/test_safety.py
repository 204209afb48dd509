"""What keeps execution safe: the risk state, the broker's own positions and orders, its account and its clock."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from src.services.execution.domain.reconciliation import Kind
from src.services.execution.use_cases.cycle import Gate
from src.services.execution.use_cases.desk import Person
from src.services.execution.use_cases.drive import Driver
from src.shared.domain.errors import Refused, Terminal, Transient
from src.shared.domain.orders import OrderReport
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.tables import alert, order_intent, pair_trade, quarantine
from tests.fakes.broker import UnreadRow
from tests.integration.execution.desk import HOUR, SLOT, Desk

ENTER, EXIT = SignalAction.ENTER_LONG, SignalAction.EXIT


def set_risk(desk: Desk, state: str) -> None:
    with desk.engine.begin() as connection:
        connection.execute(text("UPDATE risk.risk_state SET state = :state"), {"state": state})


def open_pair(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.run()
    assert desk.trade_states() == ["open"]


def kinds(gate: Gate) -> set[tuple[Kind, str]]:
    return {(finding.kind, finding.subject) for finding in gate.findings}


def last_alert(desk: Desk) -> str:
    with desk.engine.connect() as connection:
        return str(connection.execute(select(alert.c.detail).order_by(alert.c.recorded_at.desc()).limit(1)).scalar())


# The risk state


@pytest.mark.parametrize("state", ["reducing", "halted"])
def test_no_entry_is_sent_while_the_account_is_not_active(desk: Desk, state: str) -> None:
    set_risk(desk, state)
    desk.approve(ENTER, quantities=(10, -8))

    desk.run()

    assert desk.broker.posts == []
    assert desk.trade_states() == ["abandoned"]
    with desk.engine.connect() as connection:
        assert connection.execute(select(pair_trade.c.close_reason)).scalar_one() == f"the account is {state}"


@pytest.mark.parametrize(("state", "end"), [("reducing", "unwound"), ("halted", "unwinding")])
def test_a_halt_between_the_legs_stops_the_second_and_what_is_held_is_given_back_once_it_may(
    desk: Desk, state: str, end: str
) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    real = desk.broker.submit_market_order

    def then_halt(*order: Any, **options: Any) -> OrderReport:
        set_risk(desk, state)
        return real(*order, **options)

    gate = desk.service.cycle.open_gate()
    desk.broker.submit_market_order = then_halt  # type: ignore[method-assign]
    desk.service.cycle.execute_slot(gate)
    desk.broker.submit_market_order = real  # type: ignore[method-assign]

    assert desk.trade_states() == [end]
    assert not any(name.endswith("-1-open-1") for name in desk.broker.posts)
    if state == "halted":
        assert len(desk.broker.posts) == 1
        assert ("critical", "halted with a leg that is not hedged") in desk.alerts()
        assert desk.run().reconciled
        assert desk.alerts().count(("critical", "halted with a leg that is not hedged")) == 1
        set_risk(desk, "active")
        desk.service.cycle.open_gate()
        assert desk.trade_states() == ["unwound"]
    with desk.engine.connect() as connection:
        assert f"the account was {state}" in connection.execute(select(pair_trade.c.close_reason)).scalar_one()
    assert desk.held() == {}
    assert desk.broken_invariants() == []


def test_an_exit_is_sent_while_reducing_and_waits_while_halted(desk: Desk) -> None:
    open_pair(desk)
    desk.approve(EXIT, slot=desk.next_hour())
    set_risk(desk, "halted")

    desk.run()
    desk.run()
    assert desk.trade_states() == ["closing"]
    assert len(desk.broker.posts) == 2

    set_risk(desk, "reducing")
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["closed"]
    assert desk.broken_invariants() == []


def test_a_halt_that_commits_before_the_send_does_stops_it(desk: Desk) -> None:
    """The halt holds its row when the order is about to be marked as sent: the send waits, and then sees it."""
    desk.approve(ENTER, quantities=(10, -8))
    gate = desk.service.cycle.open_gate()
    halting = desk.engine.connect()
    driver_made = desk.service.cycle.make_driver
    released: list[threading.Timer] = []

    def make_driver(cycle: Any) -> Any:
        driver: Any = driver_made(cycle)
        real = driver._save_sending

        def halt_first(intent: Any) -> bool:
            if not released:
                halting.execute(text("UPDATE risk.risk_state SET state = 'halted'"))
                released.append(threading.Timer(0.3, halting.commit))
                released[0].start()
            return bool(real(intent))

        driver._save_sending = halt_first
        return driver

    desk.service.cycle.make_driver = make_driver
    desk.service.cycle.execute_slot(gate)
    released[0].join()
    halting.close()

    assert desk.broker.posts == []
    assert desk.trade_states() == ["abandoned"]
    assert desk.broken_invariants() == []


# Exits and what is around them


def test_a_close_costs_one_read_of_positions_and_one_of_open_orders(desk: Desk) -> None:
    open_pair(desk)
    desk.approve(EXIT, slot=desk.next_hour())
    gate = desk.service.cycle.open_gate()
    desk.broker.calls.clear()

    desk.service.cycle.execute_slot(gate)

    assert desk.trade_states() == ["closed"]
    assert desk.broker.calls == {"positions": 1, "open_orders": 1}


def test_shares_sold_by_hand_are_not_sold_again_and_the_rest_is_paged_with_both_numbers(desk: Desk) -> None:
    open_pair(desk)
    desk.broker.trade_by_hand("AAA", -4)
    desk.approve(EXIT, slot=desk.next_hour())

    gate = desk.run()

    assert gate.reconciled
    assert desk.trade_states() == ["orphaned"]
    assert desk.held() == {}
    assert "AAA: the books hold 4, the broker 0" in last_alert(desk)
    posts = len(desk.broker.posts)
    desk.next_hour()
    desk.run()
    assert len(desk.broker.posts) == posts
    assert desk.trade_states() == ["orphaned"]
    assert desk.broken_invariants() == []


def test_somebody_elses_order_on_the_other_side_puts_an_exit_off_without_using_up_its_attempts(desk: Desk) -> None:
    open_pair(desk)
    desk.broker.work_by_hand("AAA", 5)
    desk.approve(EXIT, slot=desk.next_hour())

    for _ in range(5):
        desk.run()
    assert desk.trade_states() == ["closing"]
    assert len(desk.broker.posts) == 2
    assert desk.alerts().count(("critical", "a leg can't be closed now")) == 1

    desk.broker.others.clear()
    desk.run()
    assert desk.trade_states() == ["closed"]
    assert desk.broken_invariants() == []


def test_our_own_stuck_entry_on_the_other_side_is_cancelled_for_an_exit(desk: Desk) -> None:
    open_pair(desk)
    desk.approve(ENTER, quantities=(-7, 6), pair="BBB/CCC")
    desk.broker.script["BBB"] = deque(["never"])
    desk.approve(EXIT, slot=SLOT + HOUR)
    gate = desk.service.cycle.open_gate()
    with pytest.raises(KeyboardInterrupt):
        _stop_at_sleep(desk, gate)
    (stuck,) = desk.broker.open_orders()
    assert stuck.symbol == "BBB"
    desk.next_hour()

    desk.service.cycle.execute_slot(desk.service.cycle.open_gate())

    assert stuck.client_order_id in desk.broker.cancels
    assert sorted(desk.trade_states()) == ["abandoned", "closed"]
    assert desk.broken_invariants() == []


def _stop_at_sleep(desk: Desk, gate: Gate) -> None:
    clock: Any = desk.service.cycle.clock
    real = clock.sleep

    def die(_: float) -> None:
        raise KeyboardInterrupt

    clock.sleep = die
    try:
        desk.service.cycle.execute_slot(gate)
    finally:
        clock.sleep = real


# Who else trades


def test_an_execution_of_somebody_else_explains_a_difference_and_blocks_its_symbol_alone(desk: Desk) -> None:
    open_pair(desk)
    desk.broker.trade_by_hand("AAA", 3)
    slot = desk.next_hour()
    desk.approve(ENTER, slot=slot, quantities=(6, -5), pair="DDD/EEE")

    gate = desk.run()

    assert gate.reconciled
    assert kinds(gate) == {(Kind.EXTERNAL_POSITION, "AAA")}
    assert gate.blocked_symbols == {"AAA"}
    assert pickle.loads(pickle.dumps(gate)) == gate  # noqa: S301 (our own bytes)
    assert ("warning", "somebody else trades what we hold") in desk.alerts()
    assert desk.trade_states() == ["open", "open"]
    assert desk.broken_invariants() == []

    desk.approve(EXIT, slot=desk.next_hour() + HOUR)
    desk.run()
    assert sorted(desk.trade_states()) == ["closed", "open"]
    assert desk.held() == {"AAA": 3, "DDD": 6, "EEE": -5}
    assert desk.broken_invariants() == []


def test_a_difference_that_no_execution_explains_stops_all_entries(desk: Desk) -> None:
    open_pair(desk)
    desk.broker.trade_by_hand("AAA", 3)
    desk.broker.external["AAA"] = Decimal(1)

    gate = desk.service.cycle.open_gate()

    assert not gate.reconciled
    assert kinds(gate) == {(Kind.POSITION_DRIFT, "AAA")}


# What can't be used


def test_a_row_that_cannot_be_read_is_kept_once_however_often_it_comes(desk: Desk) -> None:
    for _ in range(2):
        desk.broker.unread = [UnreadRow("position"), UnreadRow("bar", raw="x" * 9000)]
        assert kinds(desk.service.cycle.open_gate()) == {(Kind.UNREAD, "position")}

    with desk.engine.connect() as connection:
        rows = connection.execute(select(quarantine.c.kind, quarantine.c.times_seen, quarantine.c.raw)).all()
    assert sorted((kind, times, len(raw)) for kind, times, raw in rows) == [("bar", 2, 4000), ("position", 2, 2)]
    assert desk.alerts().count(("error", "an answer of the broker can't be read")) == 2


def test_executions_that_are_lost_stop_entries_and_are_kept(desk: Desk) -> None:
    open_pair(desk)
    with desk.engine.begin() as connection:
        connection.execute(text("UPDATE execution.order_intent SET filled_quantity = 9 WHERE symbol = 'AAA'"))
    name = desk.broker.posts[1]

    gate = desk.service.cycle.open_gate()

    assert (Kind.MISSING_EXECUTIONS, name) in kinds(gate)
    assert not gate.reconciled
    with desk.engine.connect() as connection:
        assert connection.execute(select(quarantine.c.kind)).scalars().all() == ["executions"]


def test_an_order_under_our_id_that_is_another_one_is_kept_and_not_adopted(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    gate = desk.service.cycle.open_gate()
    desk.broker.script["BBB"] = deque(["hidden"])
    real = desk.broker.order_by_client_id
    desk.broker.order_by_client_id = lambda name, **_: _doubled(real(name))  # type: ignore[method-assign]

    with pytest.raises(Terminal, match="a person has to look"):
        desk.service.cycle.execute_slot(gate)

    with desk.engine.connect() as connection:
        assert connection.execute(select(quarantine.c.kind)).scalars().all() == ["order"]
        assert connection.execute(select(order_intent.c.broker_order_id)).scalars().all() == [None]


def _doubled(report: OrderReport | None) -> OrderReport | None:
    return report and replace(report, quantity=report.quantity * 2)


# Late


def test_a_late_fill_is_sold_at_once_beside_a_newer_trade_of_its_pair(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["never"])
    desk.run()
    assert desk.trade_states() == ["unwound"]
    late = desk.broker.cancels[0]
    desk.approve(ENTER, slot=desk.next_hour(), quantities=(10, -8))
    desk.run()
    assert desk.trade_states() == ["unwound", "open"]

    desk.broker.fill_late(late, Decimal(4))
    gate = desk.service.cycle.open_gate()

    assert gate.reconciled
    assert desk.trade_states() == ["unwound", "open"]
    assert desk.held() == {"AAA": 10, "BBB": -8}
    assert desk.broken_invariants() == []


def test_one_stuck_exit_does_not_keep_another_from_being_sent_and_filled(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.approve(ENTER, quantities=(6, -5), pair="DDD/EEE")
    desk.run()
    slot = desk.next_hour()
    desk.approve(EXIT, slot=slot)
    desk.approve(EXIT, slot=slot, pair="DDD/EEE")
    desk.broker.script["AAA"] = deque(["stuck"])
    clock: Any = desk.service.cycle.clock
    gate = desk.service.cycle.open_gate()
    before, real, waited = clock.now(), clock.sleep, []

    def sleep(seconds: float) -> None:
        waited.append((clock.now() - before, desk.trade_states()))
        real(seconds)

    clock.sleep = sleep
    with pytest.raises(Transient):
        desk.service.cycle.execute_slot(gate)

    assert all(states == ["closing", "closed"] for _, states in waited)
    assert waited[-1][0] < timedelta(seconds=240)


def test_flatten_sends_the_exits_of_all_trades_before_it_waits_for_one(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.approve(ENTER, quantities=(6, -5), pair="DDD/EEE")
    desk.run()
    desk.broker.script["AAA"] = deque(["lost"])
    clock, real = desk.service.cycle.clock, desk.broker.submit_market_order
    began = clock.now()
    sent: dict[str, timedelta] = {}

    def submit(client_order_id: str, symbol: str, quantity: Decimal, *, urgent: bool = False) -> OrderReport:
        sent.setdefault(symbol, clock.now() - began)
        return real(client_order_id, symbol, quantity, urgent=urgent)

    desk.broker.submit_market_order = submit  # type: ignore[method-assign]
    closing = desk.service.desk.flatten(Person("ann", "a drill"))

    assert sent["AAA"] == sent["DDD"] == sent["EEE"] == timedelta(0)
    assert all(each.is_flat for each in closing.trades)
    assert desk.held() == {}
    assert desk.broken_invariants() == []


def test_a_pass_waits_no_longer_than_it_may_in_all(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["lost"] * 9)
    driver_made = desk.service.cycle.make_driver

    def impatient(cycle: Any) -> Any:
        driver = driver_made(cycle)
        driver.patience = replace(driver.patience, wait_in_all=timedelta(seconds=15))
        return driver

    desk.service.cycle.make_driver = impatient
    clock: Any = desk.service.cycle.clock
    before = clock.now()
    with pytest.raises(Transient, match="waited long enough"):
        desk.run()

    assert clock.now() - before <= timedelta(seconds=15)
    assert len(desk.broker.posts) == 1


# Account and clock


def test_a_blocked_account_refuses_entries_and_says_so(desk: Desk) -> None:
    desk.broker.blocked = True
    desk.approve(ENTER, quantities=(10, -8))

    gate = desk.run()

    assert kinds(gate) == {(Kind.ACCOUNT, "account")}
    assert ("critical", "the broker does not let the account trade") in desk.alerts()
    assert desk.broker.posts == []


def test_keys_that_are_refused_are_told_and_stop_the_gate(desk: Desk) -> None:
    def refused() -> None:
        raise Refused("HTTP 401 unauthorized.", "401")

    desk.broker.clock = refused  # type: ignore[method-assign, assignment]
    with pytest.raises(Refused):
        desk.service.cycle.open_gate()

    assert desk.alerts() == [("critical", "the broker refuses us")]


def test_what_goes_on_is_told_once_whatever_its_numbers_and_again_when_it_came_back(desk: Desk) -> None:
    told = ("critical", "market time can't be trusted")
    for minutes in (10, 3):
        desk.service.cycle.open_gate()
        desk.broker.now -= timedelta(minutes=minutes)
        desk.service.cycle.open_gate()
    desk.broker.now -= HOUR
    desk.service.cycle.open_gate()
    lasting = desk.alerts().count(told)

    desk.broker.now += HOUR + timedelta(minutes=20)
    assert desk.service.cycle.open_gate().reconciled
    desk.broker.now -= timedelta(minutes=10)
    desk.service.cycle.open_gate()

    assert (lasting, desk.alerts().count(told)) == (1, 2)
    desk.broker.now += timedelta(minutes=10)
    assert desk.broken_invariants() == []


def test_a_trade_that_can_not_be_carried_on_is_told_once_for_each_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ("critical", "a trade can't be carried on")
    open_pair(desk)
    desk.approve(EXIT, slot=desk.next_hour())
    desk.interrupted("submit_market_order")
    counts = []
    for error in (Transient("since 3 s"), Transient("since 4 s"), Terminal("no such leg")):
        with monkeypatch.context() as patched:
            patched.setattr(Driver, "_take", failing(error))
            desk.service.cycle.open_gate()
        counts.append(desk.alerts().count(told))

    assert counts == [1, 1, 2]


def failing(error: Exception) -> Any:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    return fails


def test_a_brokers_clock_that_goes_back_stops_entries_until_it_is_there_again(desk: Desk) -> None:
    assert desk.service.cycle.open_gate().reconciled
    desk.broker.now -= timedelta(minutes=10)

    gate = desk.service.cycle.open_gate()

    assert kinds(gate) == {(Kind.CLOCK, "clock")}
    assert ("critical", "market time can't be trusted") in desk.alerts()
    desk.broker.now += timedelta(minutes=10)
    assert desk.service.cycle.open_gate().reconciled


def test_a_host_far_from_the_brokers_clock_refuses_entries(desk: Desk) -> None:
    comparison = desk.service.cycle.comparison
    desk.service.cycle.comparison = replace(comparison, host_drift=timedelta(seconds=30))
    clock: Any = desk.service.cycle.clock
    assert desk.service.cycle.open_gate().reconciled
    clock.time += timedelta(minutes=10)

    assert kinds(desk.service.cycle.open_gate()) == {(Kind.CLOCK, "clock")}
