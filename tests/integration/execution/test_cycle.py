"""Execution on real PostgreSQL with a broker that can be told what to do."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update

from src.services.execution.domain.reconciliation import Kind
from src.services.execution.use_cases.drive import Cycle
from src.shared.domain.errors import NotTheWriter, Refused, Terminal, Transient, Unreachable
from src.shared.domain.ids import pair_trade_id
from src.shared.domain.orders import FillReport, OrderReport, OrderState, PositionReport
from src.shared.domain.pairs import Direction, PairTrade, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.tables import (
    order_intent,
    outbox,
    pair_trade,
)
from tests.fakes.broker import UnreadRow
from tests.integration.execution.desk import HOUR, SLOT, Desk, given_up_but_placed
from tests.polling import eventually


def test_an_entry_sells_the_short_leg_first_and_ends_open(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))

    desk.run()

    assert desk.trade_states() == ["open"]
    assert [(o.symbol, int(o.filled_quantity)) for o in desk.broker.orders.values()] == [("BBB", -8), ("AAA", 10)]
    assert desk.broken_invariants() == []


def test_an_exit_closes_exactly_what_is_held_and_books_the_result(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.approve(SignalAction.EXIT, slot=desk.next_hour())
    desk.broker.prices.update({"AAA": Decimal(103), "BBB": Decimal(101)})

    desk.run()

    assert desk.trade_states() == ["closed"]
    with desk.engine.connect() as connection:
        assert connection.execute(select(pair_trade.c.realized_pnl)).scalar_one() == Decimal(10 * 3 - 8 * 1)
    assert desk.broker.positions() == []
    assert desk.broken_invariants() == []


def test_the_same_slot_run_again_sends_nothing_more(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))

    desk.run()
    desk.run()

    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_a_rejected_second_leg_unwinds_the_first_and_alerts(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["reject"])

    desk.run()

    assert desk.trade_states() == ["unwound"]
    assert desk.broker.positions() == []
    with desk.engine.connect() as connection:
        told = connection.execute(select(outbox.c.channel)).scalars().all()
    assert "tradewinds.orders.LegImbalanceFound" in told
    assert "tradewinds.ops.AlertRaised" in told
    assert desk.broken_invariants() == []


def test_a_leg_that_cannot_be_closed_is_orphaned_blocks_entries_and_is_tried_again(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    slot = desk.next_hour()
    desk.approve(SignalAction.EXIT, slot=slot)
    desk.broker.script["AAA"] = deque(["reject"] * 3)

    desk.approve(SignalAction.ENTER_LONG, quantities=(5, -4), pair="DDD/EEE", slot=slot)
    desk.run()
    assert sorted(desk.trade_states()) == ["abandoned", "orphaned"]
    assert not desk.service.cycle.open_gate().reconciled
    assert desk.broken_invariants() == []

    desk.next_hour()
    desk.service.cycle.open_gate()
    assert sorted(desk.trade_states()) == ["abandoned", "closed"]
    assert desk.broken_invariants() == []


def test_an_entry_that_would_meet_another_pairs_opposite_leg_is_abandoned_unsent(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.approve(SignalAction.ENTER_LONG, quantities=(9, -7), pair="BBB/CCC")

    desk.run()

    assert sorted(desk.trade_states()) == ["abandoned", "open"]
    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_a_position_of_somebody_else_blocks_its_symbol_and_is_left_alone(desk: Desk) -> None:
    desk.broker.external["AAA"] = Decimal(3)
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))

    gate = desk.run()

    assert gate.reconciled
    assert desk.trade_states() == ["abandoned"]
    assert desk.broker.posts == []


def test_books_that_disagree_with_the_broker_stop_entries(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.broker.external["AAA"] = Decimal(-4)
    desk.approve(SignalAction.ENTER_SHORT, slot=desk.next_hour(), quantities=(-5, 4), pair="BBB/CCC")

    gate = desk.run()

    assert not gate.reconciled
    assert gate.differences == ("AAA: books say 10, the broker says 6",)
    assert desk.trade_states() == ["open", "abandoned"]
    assert any(text.startswith("I3") for text in desk.broken_invariants())


def test_a_trade_left_half_way_is_carried_on_by_the_next_run(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    gate = desk.service.cycle.open_gate()
    broker_lookup = desk.broker.order_by_client_id
    desk.broker.order_by_client_id = _away  # type: ignore[method-assign]
    with pytest.raises(Transient):
        desk.service.cycle.execute_slot(gate)
    assert desk.trade_states() == ["opening"]

    desk.broker.order_by_client_id = broker_lookup  # type: ignore[method-assign]
    desk.run()

    assert desk.trade_states() == ["open"]
    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_an_intent_whose_process_died_while_sending_is_looked_up_not_sent_again(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    real = desk.broker.submit_market_order

    def die_after_sending(client_order_id: str, symbol: str, quantity: Decimal, **_: bool) -> None:
        real(client_order_id, symbol, quantity)
        raise KeyboardInterrupt

    desk.broker.submit_market_order = die_after_sending  # type: ignore[method-assign, assignment]
    gate = desk.service.cycle.open_gate()
    with pytest.raises(KeyboardInterrupt):
        desk.service.cycle.execute_slot(gate)
    with desk.engine.connect() as connection:
        assert connection.execute(select(order_intent.c.state)).scalars().all() == [OrderState.SENDING]

    desk.broker.submit_market_order = real  # type: ignore[method-assign]
    desk.run()

    assert desk.trade_states() == ["open"]
    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_only_one_process_at_a_time_is_the_writer(desk: Desk) -> None:
    with desk.service.cycle.become_writer() as first:
        with pytest.raises(NotTheWriter), desk.service.cycle.become_writer():
            pytest.fail("two writers")
        assert first == 1
    with desk.service.cycle.become_writer() as second:
        assert second == 2


def test_a_writer_that_was_overtaken_cannot_write_an_intent(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    gate = desk.service.cycle.open_gate()
    real = desk.broker.submit_market_order

    def overtaken(client_order_id: str, symbol: str, quantity: Decimal, **_: bool) -> object:
        with desk.engine.begin() as connection:
            connection.execute(text("UPDATE execution.writer_epoch SET epoch = epoch + 1"))
        return real(client_order_id, symbol, quantity)

    desk.broker.submit_market_order = overtaken  # type: ignore[method-assign, assignment]
    with pytest.raises(NotTheWriter):
        desk.service.cycle.execute_slot(gate)

    assert len(desk.broker.posts) == 1
    desk.broker.submit_market_order = real  # type: ignore[method-assign]
    desk.run()
    assert desk.trade_states() == ["open"]
    assert desk.broken_invariants() == []


def test_a_trade_is_carried_on_between_cycles_unless_another_process_trades(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.interrupted("fills_since")

    with desk.service.cycle.become_writer(), pytest.raises(NotTheWriter):
        desk.service.cycle.carry_on(wait=False)
    assert desk.trade_states() == ["opening"]

    assert desk.service.cycle.carry_on(wait=False) == ()
    assert desk.trade_states() == ["open"]
    assert desk.broken_invariants() == []


def one_look(desk: Desk) -> tuple[str, ...]:
    """Look once the server has noticed that the session of the run before is gone."""
    left: list[tuple[str, ...]] = []

    def looked() -> bool:
        with suppress(NotTheWriter):
            left.append(desk.service.cycle.carry_on(wait=False))
        return bool(left)

    eventually(looked)
    return left[0]


def test_one_look_waits_for_nothing_and_pages_nobody_for_what_only_takes_time(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.interrupted("submit_market_order", after=True)
    desk.broker.order_by_client_id = _away  # type: ignore[method-assign]
    before = desk.service.cycle.clock.now()

    for _ in range(3):
        left = one_look(desk)

    assert left == ("AAA/BBB is opening", "AAA/BBB: no answer about " + desk.broker.posts[0])
    assert desk.service.cycle.clock.now() == before
    assert desk.alerts() == []
    assert len(desk.broker.posts) == 1


def test_one_look_at_an_order_nobody_knows_never_sends_it_again(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.interrupted("submit_market_order")
    before = desk.service.cycle.clock.now()

    for _ in range(3):
        assert one_look(desk) == ("AAA/BBB is opening",)

    assert desk.broker.posts == []
    assert desk.service.cycle.clock.now() == before
    assert desk.alerts() == []


# One bad trade


def two_open_pairs_and_exits(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.approve(SignalAction.ENTER_LONG, quantities=(6, -5), pair="DDD/EEE")
    desk.run()
    slot = desk.next_hour()
    desk.approve(SignalAction.EXIT, slot=slot)
    desk.approve(SignalAction.EXIT, slot=slot, pair="DDD/EEE")


def test_a_trade_whose_executions_are_missing_does_not_stop_the_exits_of_others(desk: Desk) -> None:
    two_open_pairs_and_exits(desk)
    real = desk.broker.fills_since
    desk.broker.fills_since = lambda moment: [f for f in real(moment) if f.symbol not in ("AAA", "BBB")]  # type: ignore[method-assign]

    with pytest.raises(Transient, match="AAA/BBB"):
        desk.run()
    assert sorted(desk.trade_states()) == ["closed", "closing"]
    gate = desk.service.cycle.open_gate()
    assert not gate.reconciled
    assert any(text.startswith("AAA/BBB: executions of") for text in gate.differences)
    assert ("critical", "a trade can't be carried on") in desk.alerts()

    desk.broker.fills_since = real  # type: ignore[method-assign]
    assert desk.service.cycle.open_gate().reconciled
    assert desk.trade_states() == ["closed", "closed"]
    assert desk.broken_invariants() == []


def test_a_server_that_goes_away_in_the_middle_of_a_slot_is_worth_another_try_and_pages_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_open_pairs_and_exits(desk)

    def away(moment: datetime) -> list[FillReport]:
        raise Unreachable("PostgreSQL does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(desk.broker, "fills_since", away)
        with pytest.raises(Transient, match="does not answer"):
            desk.run()

    assert desk.alerts() == []
    desk.run()
    assert desk.trade_states() == ["closed", "closed"]


def test_an_order_that_is_not_the_one_we_meant_needs_a_person_and_others_exit(desk: Desk) -> None:
    two_open_pairs_and_exits(desk)
    real = desk.broker.order_by_client_id

    def somebody_elses(name: str, **_: bool) -> OrderReport | None:
        report = real(name)
        return replace(report, quantity=report.quantity * 2) if report and report.symbol == "AAA" else report

    desk.broker.order_by_client_id = somebody_elses  # type: ignore[method-assign, assignment]
    with pytest.raises(Terminal, match="a person has to look"):
        desk.run()

    assert sorted(desk.trade_states()) == ["closed", "closing"]
    assert ("critical", "a trade can't be carried on") in desk.alerts()


def test_entries_wait_while_a_trade_of_the_same_cycle_is_unfinished(desk: Desk) -> None:
    two_open_pairs_and_exits(desk)
    desk.approve(SignalAction.ENTER_LONG, slot=SLOT + HOUR, quantities=(4, -3), pair="BBB/CCC")
    desk.broker.script["AAA"] = deque(["stuck"])

    with pytest.raises(Transient, match="BBB/CCC: waits"):
        desk.run()

    assert desk.trade_states() == ["closing", "closed"]
    assert not any("-open-" in name for name in desk.broker.posts[4:])


# Between two commits


def test_an_entry_that_was_written_down_but_not_sent_waits_for_its_own_cycle(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    written_down_only(desk)

    desk.service.cycle.open_gate()
    assert desk.broker.posts == []
    desk.run()

    assert desk.trade_states() == ["open"]
    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_an_entry_that_was_written_down_is_looked_at_again_before_it_is_sent(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    written_down_only(desk)
    desk.broker.external["AAA"] = Decimal(3)

    desk.run()

    assert desk.trade_states() == ["abandoned"]
    assert desk.broker.posts == []


def test_a_planned_first_leg_is_not_sent_before_the_books_were_compared_nor_when_they_disagree(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    with armed("execution.intent_committed:exc"), pytest.raises(Crashed):
        desk.run()
    desk.broker.external["AAA"] = Decimal(3)

    desk.run()
    assert desk.broker.posts == []
    del desk.broker.external["AAA"]
    desk.run()

    assert desk.trade_states() == ["open"]
    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_an_entry_whose_hour_is_over_is_never_sent(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    written_down_only(desk)

    desk.next_hour()
    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["abandoned"]
    assert desk.broker.posts == []
    assert desk.broken_invariants() == []


@pytest.mark.parametrize(("hours", "state", "held"), [(0, "open", {"AAA": 10, "BBB": -8}), (1, "unwound", {})])
def test_a_first_leg_alone_is_completed_in_its_hour_and_unwound_after_it(
    desk: Desk, hours: int, state: str, held: dict[str, int]
) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.interrupted("order_by_client_id", after=True)
    assert desk.held() == {"BBB": -8}
    desk.broker.now += hours * HOUR

    desk.service.cycle.open_gate()

    assert desk.trade_states() == [state]
    assert desk.held() == held
    assert desk.broken_invariants() == []


@pytest.mark.parametrize("after", [False, True])
def test_an_entry_that_nobody_knows_of_is_not_sent_again_when_its_hour_is_over(desk: Desk, after: bool) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.interrupted("submit_market_order", after=after)

    desk.next_hour()
    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound" if after else "abandoned"]
    assert desk.held() == {}
    assert len(desk.broker.posts) == (2 if after else 0)
    assert desk.broken_invariants() == []


def test_nothing_is_sent_while_the_market_is_closed(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.interrupted("order_by_client_id", after=True)
    desk.broker.is_open = False

    desk.service.cycle.open_gate()
    assert len(desk.broker.posts) == 1
    assert desk.trade_states() == ["unwinding"]

    desk.broker.is_open = True
    desk.broker.now += timedelta(days=1)
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["unwound"]
    assert desk.broken_invariants() == []


def test_the_market_that_closes_after_the_gate_stops_the_entry(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    gate = desk.service.cycle.open_gate()
    desk.broker.is_open = False

    desk.service.cycle.execute_slot(gate)

    assert desk.trade_states() == ["abandoned"]
    assert desk.broker.posts == []


# No answer, without end


def test_an_order_given_up_that_works_at_the_broker_after_all_is_cancelled(desk: Desk) -> None:
    name = given_up_but_placed(desk)

    gate = desk.service.cycle.open_gate()

    assert desk.broker.cancels == [name]
    assert gate.reconciled
    assert desk.trade_states() == ["abandoned"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


def test_an_order_given_up_that_was_filled_after_all_is_booked_and_sold_again(desk: Desk) -> None:
    desk.broker.order_by_client_id(given_up_but_placed(desk))
    assert desk.held() == {"BBB": -8}

    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


@pytest.mark.parametrize("filled", [-8, -3])
def test_an_order_whose_repetition_was_refused_and_that_was_placed_after_all_is_booked_and_sold_again(
    desk: Desk, filled: int
) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["hidden"])
    real, lookup, listing = desk.broker.submit_market_order, desk.broker.order_by_client_id, desk.broker.orders_since

    def refuse_again(name: str, symbol: str, quantity: Decimal, **options: Any) -> Any:
        if name in desk.broker.orders:
            raise Refused("insufficient buying power", "40310000")
        return real(name, symbol, quantity, **options)

    desk.broker.submit_market_order = refuse_again  # type: ignore[method-assign,assignment]
    desk.broker.order_by_client_id = lambda *_, **__: None  # type: ignore[method-assign]
    desk.broker.orders_since = lambda *_: []  # type: ignore[method-assign]
    desk.run()
    assert desk.trade_states() == ["abandoned"]
    desk.broker.order_by_client_id, desk.broker.orders_since = lookup, listing  # type: ignore[method-assign]
    (name,) = desk.broker.orders
    desk.broker.fill_late(name, Decimal(filled))
    if filled != -8:
        desk.broker.orders[name] = replace(desk.broker.orders[name], status="canceled")

    gate = desk.service.cycle.open_gate()

    assert gate.reconciled
    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


def test_an_order_whose_repetition_was_refused_and_that_works_after_all_is_cancelled(desk: Desk) -> None:
    name = given_up_but_placed(desk)
    with desk.engine.begin() as connection:
        connection.execute(update(order_intent).values(state="rejected"))

    gate = desk.service.cycle.open_gate()

    assert desk.broker.cancels == [name]
    assert gate.reconciled
    assert desk.broken_invariants() == []


def test_a_close_that_fills_by_half_is_followed_by_one_for_the_rest(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.approve(SignalAction.EXIT, slot=desk.next_hour())
    desk.broker.script["AAA"] = deque(["half"])

    desk.run()

    assert desk.trade_states() == ["closed"]
    closes = [int(o.quantity) for o in desk.broker.orders.values() if o.symbol == "AAA"][1:]
    assert closes == [-10, -5]
    assert desk.broken_invariants() == []


# Late fills


def test_a_fill_after_the_trade_was_unwound_is_booked_paged_and_sold_again(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["never"])
    desk.run()
    assert desk.trade_states() == ["unwound"]

    desk.broker.fill_late(desk.broker.cancels[0], Decimal(4))
    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert ("critical", "leg can't be closed") in desk.alerts()
    assert desk.broken_invariants() == []


def test_a_fill_after_an_abandoned_entry_is_booked_and_sold_again(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["never"])
    desk.run()
    assert desk.trade_states() == ["abandoned"]

    desk.broker.fill_late(desk.broker.cancels[0], Decimal(-8))
    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["unwound"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


def test_a_late_fill_that_breaks_the_hedge_of_an_open_trade_closes_it(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["half"])
    desk.run()
    assert desk.held() == {"AAA": 5, "BBB": -4}

    desk.broker.fill_late(desk.broker.cancels[0], Decimal(-4))
    desk.service.cycle.open_gate()

    assert desk.trade_states() == ["closed"]
    assert desk.held() == {}
    assert desk.broken_invariants() == []


# Late and doubled runs


def test_a_late_run_of_an_earlier_slot_neither_closes_the_new_trade_nor_enters(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.approve(SignalAction.EXIT, slot=desk.next_hour())
    desk.approve(SignalAction.ENTER_LONG, slot=SLOT + HOUR, quantities=(6, -5), pair="DDD/EEE")
    late = desk.service.cycle.open_gate()
    desk.broker.now += HOUR
    exits = replace(late)
    desk.service.cycle.execute_slot(exits)
    assert sorted(desk.trade_states()) == ["abandoned", "closed"]
    desk.approve(SignalAction.ENTER_LONG, slot=SLOT + 2 * HOUR, quantities=(10, -8))
    desk.run()

    desk.service.cycle.execute_slot(late)

    assert sorted(desk.trade_states()) == ["abandoned", "closed", "open"]
    assert desk.held() == {"AAA": 10, "BBB": -8}
    assert desk.broken_invariants() == []


def test_a_trade_is_not_moved_by_a_writer_that_was_overtaken(desk: Desk) -> None:
    with desk.service.cycle.become_writer() as first:
        driver = desk.service.cycle.make_driver(cycle(desk, first))
    with desk.service.cycle.become_writer() as second:
        assert second == first + 1
        with pytest.raises(NotTheWriter):
            driver.begin(new_trade())
    assert desk.trade_states() == []


# What can't be read


@pytest.mark.parametrize("kind", ["position", "fill", "order"])
def test_a_row_that_cannot_be_read_stops_entries_and_is_named(desk: Desk, kind: str) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    slot = desk.next_hour()
    desk.approve(SignalAction.EXIT, slot=slot)
    desk.approve(SignalAction.ENTER_LONG, slot=slot, quantities=(6, -5), pair="DDD/EEE")
    desk.broker.unread = [UnreadRow(kind), UnreadRow("bar")]

    gate = desk.run()

    assert not gate.reconciled
    assert gate.differences == (f"{kind}: qty is not a number in {{}}",)
    assert ("critical", "books and broker disagree") in desk.alerts()
    assert sorted(desk.trade_states()) == ["abandoned", "closed"]
    assert desk.broken_invariants() == []


def test_positions_that_cannot_be_had_stop_entries_but_no_exit(desk: Desk) -> None:
    two_open_pairs_and_exits(desk)
    real = desk.broker.positions

    def away() -> list[PositionReport]:
        raise Transient("no answer")

    desk.broker.positions = away  # type: ignore[method-assign]
    gate = desk.run()
    desk.broker.positions = real  # type: ignore[method-assign]

    assert gate.differences == ("broker: could not be compared with our books: no answer",)
    assert desk.trade_states() == ["closed", "closed"]
    assert desk.broken_invariants() == []


def test_a_difference_beside_a_look_that_saw_nothing_is_not_declared(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    real, away = desk.broker.positions, [Transient("no answer")]

    def away_once() -> list[PositionReport]:
        if away:
            raise away.pop()
        return [replace(each, quantity=each.quantity - 1) for each in real()]

    desk.broker.positions = away_once  # type: ignore[method-assign]
    first = desk.service.cycle.open_gate()
    second = desk.service.cycle.open_gate()

    assert {finding.kind for finding in first.findings} == {Kind.UNREAD}
    assert not first.reconciled
    assert {finding.kind for finding in second.findings} == {Kind.POSITION_DRIFT}


def test_an_entry_for_which_the_broker_has_not_the_buying_power_any_more_is_not_begun(desk: Desk) -> None:
    judged = {"buying_power": {"needed": "1854.00", "left": "200000"}}
    desk.broker.buying_power = Decimal("1853.99")
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8), judged=judged)
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8), judged=judged | {"buying_power": {}}, pair="DDD/EEE")

    desk.run()

    assert desk.trade_states() == ["abandoned", "open"]
    assert desk.held() == {"DDD": 10, "EEE": -8}
    with desk.engine.connect() as connection:
        why = connection.execute(select(pair_trade.c.close_reason).where(pair_trade.c.pair_id == "AAA/BBB")).scalar()
    assert why == "all legs need $1854.00 of buying power, $1853.99 is left"


def test_an_order_is_dated_in_market_time(desk: Desk) -> None:
    desk.broker.now -= timedelta(days=30)
    slot = TradingCalendar().last_slot(desk.broker.now)
    desk.approve(SignalAction.ENTER_LONG, slot=slot, quantities=(10, -8))

    desk.run()

    with desk.engine.connect() as connection:
        sent = connection.execute(select(order_intent.c.sent_at)).scalars().all()
    assert all(desk.broker.now <= moment < desk.broker.now + HOUR for moment in sent)


def cycle(desk: Desk, epoch: int) -> Cycle:
    market = desk.broker.clock()
    return Cycle(SLOT, market, desk.service.cycle.clock.now(), epoch, may_enter=True)


def new_trade() -> PairTrade:
    return PairTrade(
        id=pair_trade_id("twin", "AAA/BBB", SLOT),
        pair_id="AAA/BBB",
        symbol_1="AAA",
        symbol_2="BBB",
        beta=0.8,
        direction=Direction.LONG_SPREAD,
        state=PairTradeState.OPENING,
        slot=SLOT,
        target_1=Decimal(10),
        target_2=Decimal(-8),
        version=1,
    )


def written_down_only(desk: Desk) -> None:
    """Leave the database as a process does that dies after its first commit."""
    with desk.service.cycle.become_writer() as epoch:
        assert desk.service.cycle.make_driver(cycle(desk, epoch)).begin(new_trade())


def _away(client_order_id: str, **_: bool) -> None:
    raise Transient(f"no answer about {client_order_id}")
