"""Nothing that goes wrong elsewhere keeps an exit from being sent, and no exit is sent that must not be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, text, update

from src.services.execution.domain.reconciliation import Kind
from src.services.execution.use_cases import drive
from src.shared.domain.corporate_actions import CorporateAction, CorporateActionKind
from src.shared.domain.errors import NotTheWriter, Terminal, Transient
from src.shared.domain.ids import client_order_prefix
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.tables import fill, ledger_entry, order_intent, pair_trade, risk_state
from tests.fakes.broker import FakeBroker, FakeClock
from tests.integration.execution.desk import HOUR, SLOT, Desk, make_instance
from tests.integration.execution.hidden import close_named, hide_close, sold

ENTER, EXIT = SignalAction.ENTER_LONG, SignalAction.EXIT
LAST_SLOT = SLOT + 5 * HOUR
TODAY, TOMORROW = date(2025, 3, 3), date(2025, 3, 4)
CLOSE = LAST_SLOT + timedelta(minutes=30)


@pytest.fixture
def leaving(desk: Desk) -> Desk:
    """Two pairs are open; an hour later the exit of the first one is approved."""
    desk.approve(ENTER, quantities=(10, -8))
    desk.approve(ENTER, quantities=(6, -5), pair="DDD/EEE")
    desk.run()
    assert desk.trade_states() == ["open", "open"]
    desk.approve(EXIT, slot=desk.next_hour())
    return desk


def split(symbol: str, identity: str, new_rate: str, day: date = TODAY) -> CorporateAction:
    return CorporateAction(
        identity,
        CorporateActionKind.SPLIT,
        "reverse_split",
        symbol,
        day,
        Decimal(1),
        Decimal(new_rate),
        Decimal(0),
        None,
        {},
    )


def states(desk: Desk) -> list[str]:
    return sorted(desk.trade_states())


# What companies do


def look_again(desk: Desk) -> None:
    with desk.engine.begin() as connection:
        connection.execute(text("DELETE FROM execution.corporate_action_look"))


def test_an_announcement_that_the_books_refuse_stops_entries_and_no_exit(leaving: Desk) -> None:
    look_again(leaving)
    leaving.broker.actions = [split("AAA", "dust", "1e-12")]

    gate = leaving.run()

    assert not gate.reconciled
    assert [(f.kind, f.subject) for f in gate.findings] == [(Kind.UNREAD, "announcements")]
    assert ("critical", "books and broker disagree") in leaving.alerts()
    assert states(leaving) == ["closed", "open"]
    leaving.broker.actions = []
    assert leaving.service.cycle.open_gate().reconciled
    assert leaving.broken_invariants() == []


def test_an_action_that_cannot_be_booked_stops_entries_and_neither_exits_nor_other_actions(
    leaving: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_again(leaving)
    leaving.broker.actions = [split("DDD", "a-bad", "2", TOMORROW), split("EEE", "b-good", "2", TOMORROW)]
    leaving.broker.now += timedelta(days=1)
    companies = leaving.service.cycle.companies
    real = type(companies)._book

    def book(self: Any, driver: Any, action: CorporateAction, at: datetime) -> Any:
        if action.id == "a-bad":
            raise Terminal("a person has to look")
        return real(self, driver, action, at)

    monkeypatch.setattr(type(companies), "_book", book)
    gate = leaving.service.cycle.open_gate()

    assert not gate.reconciled
    assert (Kind.TRADE, "DDD") in {(f.kind, f.subject) for f in gate.findings}
    with leaving.engine.connect() as connection:
        booked = connection.execute(select(ledger_entry.c.corporate_action_id).where(ledger_entry.c.kind == "split"))
        assert list(booked.scalars()) == ["b-good"]


# Our own orders, and what looks like them


def test_an_order_with_our_prefix_that_nobody_knows_holds_the_exit_and_pages_and_others_leave(leaving: Desk) -> None:
    leaving.approve(EXIT, slot=SLOT + HOUR, pair="DDD/EEE")
    stray = f"{client_order_prefix('twin')}0123456789abcdef0123-1-open-1"
    leaving.broker.work_by_hand("AAA", 5)
    leaving.broker.others = [replace(order, client_order_id=stray) for order in leaving.broker.others]

    gate = leaving.run()

    assert [(f.kind, f.subject) for f in gate.findings] == [(Kind.UNKNOWN_ORDER, stray)]
    assert states(leaving) == ["closed", "closing"]
    assert ("critical", "a leg can't be closed now") in leaving.alerts()
    leaving.broker.others = []
    leaving.run()
    assert states(leaving) == ["closed", "closed"]


def test_an_order_of_ours_that_is_over_here_and_will_not_be_cancelled_there_puts_the_exit_off_for_a_while(
    leaving: Desk,
) -> None:
    """It is done by our books, works at the broker and stands against the exit: there is nothing but to wait."""
    name = next(name for name in leaving.broker.orders if name.endswith("-1-open-1"))
    real = leaving.broker.orders[name]
    broker = leaving.broker
    gate = leaving.service.cycle.open_gate()
    assert gate.reconciled
    broker.orders[name] = replace(real, status="new")
    broker._behaviour[name] = "stuck"

    with pytest.raises(Transient, match="has cancelled"):
        leaving.service.cycle.execute_slot(gate)
    assert broker.cancels == [name]
    assert states(leaving) == ["closing", "open"]

    broker.orders[name] = real
    leaving.run()
    assert states(leaving) == ["closed", "open"]
    assert leaving.broken_invariants() == []


# What the broker's lists say


def test_shares_missed_once_and_then_not_to_be_seen_are_not_sold_by_the_books(leaving: Desk) -> None:
    """The first look misses shares, the second gets no answer: to sell them all now might be to sell short."""
    gate = leaving.service.cycle.open_gate()
    leaving.broker.trade_by_hand("AAA", -10)
    real, looks = leaving.broker.positions, iter([True])

    def once() -> list[Any]:
        if next(looks, False):
            return real()
        raise Transient("no answer")

    leaving.broker.positions = once  # type: ignore[method-assign]
    with pytest.raises(Transient, match="AAA/BBB"):
        leaving.service.cycle.execute_slot(gate)
    leaving.broker.positions = real  # type: ignore[method-assign]

    assert "AAA" not in leaving.held()
    leaving.run()
    assert leaving.held() == {"DDD": 6, "EEE": -5}
    assert states(leaving) == ["open", "orphaned"]


@pytest.mark.parametrize("unread", ["list", "row"])
def test_shares_that_were_missed_are_not_sold_by_the_books_later(
    leaving: Desk, monkeypatch: pytest.MonkeyPatch, unread: str
) -> None:
    """Somebody sold more of them than there were: to sell them as well would make what is short still shorter."""
    leaving.broker.trade_by_hand("AAA", -13)
    leaving.run()
    assert states(leaving) == ["open", "orphaned"]

    def away() -> list[Any]:
        raise Transient("no answer")

    with monkeypatch.context() as patch:
        if unread == "list":
            patch.setattr(leaving.broker, "positions", away)
        else:
            leaving.broker.unreadable = {"AAA"}
        leaving.next_hour()
        leaving.service.cycle.open_gate()
        leaving.service.cycle.carry_on()

    leaving.broker.unreadable.clear()
    assert leaving.held() == {"AAA": -3, "DDD": 6, "EEE": -5}
    assert states(leaving) == ["open", "orphaned"]


@pytest.mark.parametrize("symbol", ["AAA", "BBB"])
def test_fault_22_a_leg_whose_position_can_not_be_read_is_closed_by_the_books(leaving: Desk, symbol: str) -> None:
    leaving.broker.unreadable = {symbol}

    gate = leaving.run()

    assert (Kind.UNREAD, "position") in {(f.kind, f.subject) for f in gate.findings}
    assert not gate.reconciled
    assert states(leaving) == ["closed", "open"]
    leaving.broker.unreadable.clear()
    assert leaving.held() == {"DDD": 6, "EEE": -5}
    leaving.service.cycle.open_gate()  # hears of the rows that the exit itself could not read
    assert leaving.service.cycle.open_gate().reconciled
    assert leaving.broken_invariants() == []


def test_what_was_seen_before_an_exit_filled_is_not_believed_after_it(leaving: Desk) -> None:
    """Six of ten are there; the exit for them fills while its answer is lost. The six are not sold once more."""
    leaving.broker.trade_by_hand("AAA", -4)
    leaving.broker.script["AAA"] = deque(["hidden"])

    leaving.run()

    assert "AAA" not in leaving.held()
    assert states(leaving) == ["open", "orphaned"]


def test_books_that_differ_by_another_number_at_each_look_still_disagree(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.run()
    real = desk.broker.positions

    def drifting() -> list[Any]:
        desk.broker.external["AAA"] = desk.broker.external.get("AAA", Decimal(0)) + 1
        return real()

    desk.broker.positions = drifting  # type: ignore[method-assign]
    gate = desk.service.cycle.open_gate()

    assert not gate.reconciled
    assert [(f.kind, f.subject) for f in gate.findings] == [(Kind.POSITION_DRIFT, "AAA")]


# An exit that is older than the look it was planned by


@pytest.fixture
def leaving_late(leaving: Desk) -> Desk:
    """The first close of AAA ends at its deadline with nothing filled, and the process ends before the second."""
    leaving.broker.script["AAA"] = deque(["never"])
    real = leaving.broker.submit_market_order

    def post(name: str, symbol: str, quantity: Decimal, **options: Any) -> Any:
        if name.endswith("1-close-2"):
            raise KeyboardInterrupt
        return real(name, symbol, quantity, **options)

    leaving.broker.submit_market_order = post  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        leaving.run()
    leaving.broker.submit_market_order = real  # type: ignore[method-assign]
    return leaving


def test_an_exit_that_a_process_left_is_sent_by_the_next_one(leaving_late: Desk) -> None:
    leaving_late.service.cycle.open_gate()

    assert sold(leaving_late, "AAA") == 10
    assert states(leaving_late) == ["closed", "open"]
    assert leaving_late.broken_invariants() == []


@pytest.mark.parametrize("filled", [10, 4])
def test_an_exit_that_a_process_left_sells_no_share_that_was_sold_meanwhile(leaving_late: Desk, filled: int) -> None:
    leaving_late.broker.fill_late(close_named(leaving_late, 1), Decimal(-filled))

    leaving_late.service.cycle.open_gate()

    assert sold(leaving_late, "AAA") == 10
    assert "AAA" not in leaving_late.held()
    assert states(leaving_late) == ["closed", "open"]
    assert leaving_late.broken_invariants() == []


@pytest.mark.parametrize("others", [0, 10])
def test_an_exit_that_was_lost_is_not_sent_again_when_the_one_before_it_fills_after_its_end(
    desk: Desk, others: int
) -> None:
    held_by_another_trade_too(desk, others)
    desk.broker.script["AAA"] = deque(["never", "lost"])
    real = desk.broker.submit_market_order

    def post(name: str, symbol: str, quantity: Decimal, **options: Any) -> Any:
        if name.endswith("1-close-2"):
            desk.broker.submit_market_order = real  # type: ignore[method-assign]
            desk.broker.fill_late(close_named(desk, 1), Decimal(-10))
        return real(name, symbol, quantity, **options)

    desk.broker.submit_market_order = post  # type: ignore[method-assign,assignment]

    desk.run()

    assert sold(desk, "AAA") == 10
    assert states(desk) == ["closed", "open"][: 1 + bool(others)]
    assert desk.alerts() == []
    assert desk.broken_invariants() == []


def held_by_another_trade_too(desk: Desk, shares: int) -> None:
    """A pair is open, an instance may hold shares of its first symbol, and an hour later the pair is to be closed."""
    make_instance(desk.engine)
    desk.approve(ENTER, quantities=(10, -8))
    if shares:
        desk.approve(ENTER, quantities=(shares, 0), pair="trend:AAA")
    desk.run()
    desk.approve(EXIT, slot=desk.next_hour())


@pytest.mark.parametrize(("others", "filled"), [(3, 10), (0, 10), (0, 6), (3, 0)])
def test_an_exit_that_the_venue_has_and_shows_nobody_is_followed_by_none_under_another_id(
    desk: Desk, others: int, filled: int
) -> None:
    held_by_another_trade_too(desk, others)
    show = hide_close(desk, filled)
    with pytest.raises(Transient):
        desk.run()

    assert {name for name in desk.broker.posts if "1-close" in name} == {close_named(desk, 1)}
    if filled == 6:
        desk.broker.fill_late(close_named(desk, 1), Decimal(-4))
    show()
    desk.service.cycle.open_gate()
    assert sold(desk, "AAA") == 10
    assert states(desk) == ["closed", "open"][: 1 + bool(others)]
    assert desk.broken_invariants() == []


def test_the_other_leg_does_not_wait_for_an_exit_that_nobody_shows(desk: Desk) -> None:
    held_by_another_trade_too(desk, 0)
    show = hide_close(desk, 10)

    with pytest.raises(Transient):
        desk.run()

    assert desk.held() == {}
    show()
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["closed"]
    assert desk.broken_invariants() == []


def test_the_other_leg_that_does_not_fill_keeps_nobody_from_looking_for_the_first_ones_exit(desk: Desk) -> None:
    held_by_another_trade_too(desk, 0)
    show = hide_close(desk, 10)
    desk.broker.script["BBB"] = deque(["stuck"])
    with pytest.raises(Transient):
        desk.run()
    show()

    desk.service.cycle.open_gate()

    with desk.engine.connect() as connection:
        known = select(order_intent.c.state).where(order_intent.c.client_order_id == close_named(desk, 1))
        assert connection.execute(known).scalar_one() == "filled"
    assert sold(desk, "AAA") == 10


def test_an_exit_that_nobody_shows_keeps_its_id_through_a_halt(desk: Desk) -> None:
    held_by_another_trade_too(desk, 0)
    show = hide_close(desk, 6)
    with pytest.raises(Transient):
        desk.run()
    for state in (RiskState.HALTED, RiskState.ACTIVE):
        with desk.engine.begin() as connection:
            connection.execute(update(risk_state).values(state=state.value))
        desk.broker.now += timedelta(minutes=5)
        desk.service.cycle.open_gate()

    desk.broker.fill_late(close_named(desk, 1), Decimal(-4))
    show()
    desk.service.cycle.open_gate()

    assert sold(desk, "AAA") == 10
    assert desk.trade_states() == ["closed"]
    assert desk.held() == {}


def test_an_exit_that_the_venue_says_it_has_keeps_its_id_overnight(desk: Desk) -> None:
    held_by_another_trade_too(desk, 10)
    show = hide_close(desk, 10)
    with pytest.raises(Transient):
        desk.run()
    desk.next_hour()
    desk.service.cycle.open_gate()
    assert desk.broker.posts.count(close_named(desk, 1)) > 1
    desk.broker.now, desk.broker.is_open = CLOSE + timedelta(minutes=5), False
    desk.service.cycle.open_gate()
    desk.broker.now, desk.broker.is_open = SLOT + timedelta(days=1), True
    gate = desk.service.cycle.open_gate()

    assert sold(desk, "AAA") == 10
    assert desk.held() == {"AAA": 10}
    assert ("critical", "a trade can't be carried on") in desk.alerts()
    assert "AAA" in {symbol for finding in gate.findings for symbol in finding.symbols}
    show()
    desk.service.cycle.open_gate()
    assert states(desk) == ["closed", "open"]
    assert desk.broken_invariants() == []


def test_an_unwind_that_was_lost_is_sent_again_while_executions_are_not_told(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.broker.script["AAA"], desk.broker.script["BBB"] = deque(["reject"]), deque(["fill", "lost"])
    real = desk.broker.fills_since

    def away(_: datetime) -> Any:
        raise Transient("500")

    desk.broker.fills_since = away  # type: ignore[method-assign,assignment]
    with suppress(Transient):
        desk.run()

    assert desk.held() == {}
    desk.broker.fills_since = real  # type: ignore[method-assign]
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["unwound"]
    assert desk.broken_invariants() == []


def test_an_exit_that_was_lost_is_not_sent_again_while_nobody_can_see_what_is_there(desk: Desk) -> None:
    held_by_another_trade_too(desk, 0)
    desk.broker.script["AAA"] = deque(["lost", "lost"])
    with suppress(Transient):
        desk.run()
    desk.broker.trade_by_hand("AAA", -10)
    desk.next_hour()
    real = desk.broker.positions_in

    def away(_: Any) -> Any:
        raise Transient("500")

    desk.broker.positions_in = away  # type: ignore[method-assign,assignment]
    desk.service.cycle.open_gate()
    assert sold(desk, "AAA") == 0
    assert desk.trade_states() == ["closing"]

    desk.broker.positions_in = real  # type: ignore[method-assign]
    desk.service.cycle.open_gate()
    assert sold(desk, "AAA") == 0
    assert desk.trade_states() == ["orphaned"]


@pytest.mark.parametrize("name", ["AAA/BBB", "trend:AAA"])
def test_an_exit_that_was_lost_is_not_sent_again_for_shares_that_a_person_has_sold(desk: Desk, name: str) -> None:
    make_instance(desk.engine)
    desk.approve(ENTER, quantities=(10, -8 if "/" in name else 0), pair=name)
    desk.run()
    desk.approve(EXIT, slot=desk.next_hour(), pair=name)
    desk.broker.script["AAA"] = deque(["lost", "lost"])
    with suppress(Transient):
        desk.run()
    desk.broker.trade_by_hand("AAA", -10)
    desk.next_hour()

    gate = desk.service.cycle.open_gate()

    assert sold(desk, "AAA") == 0
    assert "AAA" not in desk.held()
    assert desk.trade_states() == ["orphaned"]
    assert gate.stops
    assert ("critical", "a leg can't be closed now") in desk.alerts()


@pytest.mark.parametrize("sent", [False, True], ids=["planned", "about to be sent"])
def test_an_exit_that_a_process_left_is_not_sent_for_shares_that_a_person_has_sold(leaving: Desk, sent: bool) -> None:
    if sent:
        leaving.interrupted("submit_market_order")
    else:
        gate = leaving.service.cycle.open_gate()
        with pytest.raises(Crashed), armed("execution.intent_committed:exc"):
            leaving.service.cycle.execute_slot(gate)
    leaving.broker.trade_by_hand("AAA", -10)
    leaving.broker.trade_by_hand("BBB", 8)
    leaving.next_hour()

    leaving.service.cycle.open_gate()

    assert leaving.held() == {"DDD": 6, "EEE": -5}
    assert sold(leaving, "AAA") == 0


# The last minutes


@pytest.mark.parametrize(("left", "state"), [(119, "abandoned"), (121, "open")])
def test_an_entry_is_not_begun_when_its_second_leg_might_meet_a_closed_market(
    desk: Desk, left: int, state: str
) -> None:
    desk.broker.now = CLOSE - timedelta(seconds=left)
    desk.approve(ENTER, slot=LAST_SLOT, quantities=(10, -8))

    desk.run()

    assert desk.trade_states() == [state]
    assert len(desk.broker.posts) == (0 if state == "abandoned" else 2)
    if state == "abandoned":
        with desk.engine.connect() as connection:
            said = connection.execute(select(pair_trade.c.close_reason)).scalar_one()
        assert said == "the market closes too soon for both legs"


def test_an_exit_is_sent_until_the_close(leaving: Desk) -> None:
    leaving.broker.now = CLOSE - timedelta(seconds=5)
    leaving.approve(EXIT, slot=LAST_SLOT)

    leaving.run()

    assert states(leaving) == ["closed", "open"]


# Who writes


def test_a_writer_that_was_overtaken_books_no_execution(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    gate = desk.service.cycle.open_gate()
    real = desk.broker.fills_since

    def overtaken(moment: datetime) -> Any:
        with desk.engine.begin() as connection:
            connection.execute(text("UPDATE execution.writer_epoch SET epoch = epoch + 1"))
        return real(moment)

    desk.broker.fills_since = overtaken  # type: ignore[method-assign]
    with pytest.raises(NotTheWriter):
        desk.service.cycle.execute_slot(gate)

    with desk.engine.connect() as connection:
        assert connection.execute(select(fill)).all() == []
    desk.broker.fills_since = real  # type: ignore[method-assign]
    desk.run()
    assert desk.trade_states() == ["open"]
    assert desk.broken_invariants() == []


def test_a_process_that_was_overtaken_before_it_sent_an_order_sends_none(
    leaving: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, posts = leaving.service.cycle.open_gate(), list(leaving.broker.posts)

    def overtaken(place: str) -> None:
        if place == "execution.before_post":
            with leaving.engine.begin() as connection:
                connection.execute(text("UPDATE execution.writer_epoch SET epoch = epoch + 1"))

    monkeypatch.setattr(drive, "failpoint", overtaken)
    with pytest.raises(NotTheWriter):
        leaving.service.cycle.execute_slot(gate)

    assert leaving.broker.posts == posts
    monkeypatch.undo()
    leaving.service.cycle.open_gate()
    assert states(leaving) == ["closed", "open"]
    assert leaving.broken_invariants() == []


def stopped_at(
    place: str, clock: FakeClock, broker: FakeBroker, meanwhile: Callable[[], object]
) -> Callable[[str], None]:
    """Stop the process for two hours when it first comes by a place."""
    stops = [place]

    def come_by(here: str) -> None:
        if here in stops:
            stops.clear()
            clock.time += 2 * HOUR
            broker.now += 2 * HOUR
            meanwhile()

    return come_by


@pytest.mark.parametrize("place", ["execution.begun", "execution.intent_committed", "execution.before_post"])
def test_a_process_that_was_stopped_for_hours_sends_no_entry_when_it_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    clock = desk.service.cycle.clock
    assert isinstance(clock, FakeClock)
    monkeypatch.setattr(drive, "failpoint", stopped_at(place, clock, desk.broker, list))

    with suppress(Transient):
        desk.run()
    desk.service.cycle.open_gate()

    assert desk.broker.posts == []
    assert desk.trade_states() == ["abandoned"]
    assert desk.broken_invariants() == []


@pytest.mark.parametrize("place", ["execution.step_chosen", "execution.intent_committed", "execution.before_post"])
def test_a_process_that_was_stopped_for_hours_looks_again_before_it_sends_an_exit(
    leaving: Desk, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    clock = leaving.service.cycle.clock
    assert isinstance(clock, FakeClock)
    gate = leaving.service.cycle.open_gate()
    sell = partial(leaving.broker.trade_by_hand, "AAA", -10)
    monkeypatch.setattr(drive, "failpoint", stopped_at(place, clock, leaving.broker, sell))

    with suppress(Transient):
        leaving.service.cycle.execute_slot(gate)
    leaving.service.cycle.open_gate()

    assert sold(leaving, "AAA") == 0
    assert leaving.held() == {"DDD": 6, "EEE": -5}
