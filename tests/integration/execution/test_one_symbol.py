"""Trades in one symbol on real PostgreSQL: whatever happens to their orders, they are whole or gone, and booked."""

from __future__ import annotations

from collections import deque
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from src.services.execution.use_cases.desk import Person
from src.shared.domain.corporate_actions import CorporateAction, CorporateActionKind
from src.shared.domain.errors import InputInvalid, Transient
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction
from src.shared.failpoints import Crashed, armed
from src.shared.infra.database.tables import pair_trade
from tests.integration.execution.desk import SLOT, Desk, make_instance

TREND = "trend:AAA"
ENTER, EXIT = SignalAction.ENTER_LONG, SignalAction.EXIT


@pytest.fixture
def desk(desk: Desk) -> Desk:
    make_instance(desk.engine)
    return desk


def entered(desk: Desk, quantity: int = 10) -> None:
    action = ENTER if quantity > 0 else SignalAction.ENTER_SHORT
    desk.approve(action, quantities=(quantity, 0), pair=TREND)
    desk.run()


def result(desk: Desk) -> Decimal | None:
    with desk.engine.connect() as connection:
        found: Decimal | None = connection.execute(select(pair_trade.c.realized_pnl)).scalar_one()
    return found


@pytest.mark.parametrize(("quantity", "gained"), [(10, 30), (-10, -30)])
def test_it_is_opened_and_closed_by_one_order_each_and_its_result_is_booked(
    desk: Desk, quantity: int, gained: int
) -> None:
    entered(desk, quantity)
    assert desk.held() == {"AAA": quantity}
    desk.approve(EXIT, slot=desk.next_hour(), pair=TREND)
    desk.broker.prices["AAA"] = Decimal(103)

    desk.run()

    assert desk.trade_states() == ["closed"]
    assert result(desk) == Decimal(gained)
    assert desk.held() == {}
    assert len(desk.broker.posts) == 2
    assert desk.broken_invariants() == []


def test_what_fills_in_part_is_held_and_its_exit_gives_back_that_much(desk: Desk) -> None:
    desk.broker.script["AAA"] = deque(["half"])
    entered(desk)

    assert desk.trade_states() == ["open"]
    assert desk.held() == {"AAA": 5}
    assert len(desk.broker.cancels) == 1
    assert desk.broken_invariants() == []

    desk.approve(EXIT, slot=desk.next_hour(), pair=TREND)
    desk.run()
    assert desk.held() == {}
    assert desk.trade_states() == ["closed"]


@pytest.mark.parametrize("behaviour", ["reject", "never"])
def test_an_entry_that_gets_nothing_is_abandoned(desk: Desk, behaviour: str) -> None:
    desk.broker.script["AAA"] = deque([behaviour])
    entered(desk)

    assert desk.trade_states() == ["abandoned"]
    assert len(desk.broker.cancels) == (behaviour == "never")
    assert desk.alerts() == []
    assert desk.broken_invariants() == []


@pytest.mark.parametrize("behaviour", ["lost", "hidden"])
def test_an_order_without_an_answer_is_looked_up_and_never_doubled(desk: Desk, behaviour: str) -> None:
    desk.broker.script["AAA"] = deque([behaviour])
    entered(desk)

    assert desk.trade_states() == ["open"]
    assert desk.held() == {"AAA": 10}
    assert desk.broken_invariants() == []


def test_a_fill_after_the_end_of_its_entry_is_sold_again(desk: Desk) -> None:
    desk.broker.script["AAA"] = deque(["never"])
    entered(desk)
    desk.broker.fill_late(desk.broker.cancels[0], Decimal(4))

    desk.next_hour()
    desk.service.cycle.open_gate()

    assert desk.held() == {}
    assert desk.trade_states() == ["unwound"]
    assert ("critical", "leg can't be closed") in desk.alerts()
    assert desk.broken_invariants() == []


def test_a_fill_after_the_end_of_a_partial_entry_is_held_as_well(desk: Desk) -> None:
    desk.broker.script["AAA"] = deque(["half"])
    entered(desk)
    desk.broker.fill_late(desk.broker.cancels[0], Decimal(2))

    desk.next_hour()
    desk.service.cycle.open_gate()

    assert desk.held() == {"AAA": 7}
    assert desk.trade_states() == ["open"]
    assert desk.broken_invariants() == []


def test_an_exit_that_can_not_be_sent_is_an_orphan_that_pages_and_is_tried_again(desk: Desk) -> None:
    entered(desk)
    desk.approve(EXIT, slot=desk.next_hour(), pair=TREND)
    desk.broker.script["AAA"] = deque(["reject"] * 3)
    desk.run()

    assert desk.trade_states() == ["orphaned"]
    assert not desk.service.cycle.open_gate().reconciled
    assert desk.broken_invariants() == []

    desk.next_hour()
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["closed"]


def test_a_halt_keeps_its_exit_back_until_the_account_is_active_again(desk: Desk) -> None:
    entered(desk)
    desk.approve(EXIT, slot=desk.next_hour(), pair=TREND)
    _set(desk, RiskState.HALTED)
    desk.run()
    assert desk.held() == {"AAA": 10}
    assert ("critical", "halted with a leg that is not hedged") not in desk.alerts()

    _set(desk, RiskState.REDUCING)
    desk.service.cycle.open_gate()
    assert desk.held() == {}


@pytest.mark.parametrize(
    "place",
    ["execution.before_begin", "execution.intent_committed", "execution.before_post", "execution.after_post",
     "execution.before_booking", "execution.moved"],
)  # fmt: skip
def test_a_process_that_dies_in_its_entry_is_finished_by_the_next_once(desk: Desk, place: str) -> None:
    desk.approve(ENTER, quantities=(10, 0), pair=TREND)
    with pytest.raises(Crashed), armed(f"{place}:exc"):
        desk.run()
    desk.run()

    assert desk.trade_states() == ["open"]
    assert desk.held() == {"AAA": 10}
    assert len(desk.broker.orders) == 1
    assert desk.broken_invariants() == []


def test_there_is_one_open_trade_of_an_instance_in_a_symbol(desk: Desk) -> None:
    entered(desk)
    desk.approve(ENTER, slot=desk.next_hour(), quantities=(10, 0), pair=TREND)
    desk.run()

    assert desk.trade_states() == ["open"]
    assert desk.held() == {"AAA": 10}


def test_it_shares_a_symbol_with_a_pair_and_gives_back_its_own(desk: Desk) -> None:
    desk.approve(ENTER, quantities=(10, -8))
    desk.approve(ENTER, quantities=(3, 0), pair=TREND)
    desk.run()
    assert desk.held() == {"AAA": 13, "BBB": -8}
    desk.approve(EXIT, slot=desk.next_hour(), pair=TREND)
    desk.run()

    assert desk.held() == {"AAA": 10, "BBB": -8}
    assert sorted(desk.trade_states()) == ["closed", "open"]
    assert desk.broken_invariants() == []


def test_a_persons_close_and_write_off_know_its_one_leg(desk: Desk) -> None:
    entered(desk)
    somebody = Person("ada", "gone for good")
    with pytest.raises(InputInvalid, match="BBB is no leg of trend:AAA"):
        desk.service.desk.write_off(TREND, "BBB", Decimal(100), somebody)
    desk.broker.trade_by_hand("AAA", -10)

    desk.service.desk.write_off(TREND, "AAA", Decimal(100), somebody)

    assert desk.trade_states() == ["closed"]
    assert desk.broken_invariants() == []


SPLIT = CorporateAction(
    id="split-1",
    kind=CorporateActionKind.SPLIT,
    vendor_type="forward_split",
    symbol="AAA",
    ex_date=date(2025, 3, 4),
    old_rate=Decimal(1),
    new_rate=Decimal(3),
    cash_per_share=Decimal(0),
    new_symbol=None,
    raw={},
)


def test_a_split_is_booked_and_the_trade_closed_and_its_symbol_rests_for_the_session(desk: Desk) -> None:
    entered(desk)
    desk.broker.actions = [SPLIT]
    desk.broker.now += timedelta(days=1, minutes=30)
    desk.broker.external["AAA"] = Decimal(20)  # three shares for one

    gate = desk.service.cycle.open_gate()

    assert gate.reconciled
    desk.broker.external.clear()
    with desk.engine.connect() as connection:
        state, why = connection.execute(select(pair_trade.c.state, pair_trade.c.close_reason)).one()
    assert (state, why) == ("closed", "corporate_action")
    assert [int(order.quantity) for order in desk.broker.orders.values()] == [10, -30]

    desk.approve(ENTER, slot=gate.slot, quantities=(5, 0), pair=TREND)
    desk.broker.external["AAA"] = Decimal(20)
    desk.run()
    with desk.engine.connect() as connection:
        reasons = list(connection.execute(select(pair_trade.c.close_reason).order_by(pair_trade.c.slot)).scalars())
    assert reasons == ["corporate_action", "frozen: split of AAA"]


def test_an_entry_waits_for_announcements_that_can_not_be_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> list[CorporateAction]:
        raise Transient("the vendor is away")

    desk.approve(ENTER, quantities=(10, 0), pair=TREND)
    gate = desk.service.cycle.open_gate()
    monkeypatch.setattr(desk.broker, "corporate_actions", silent)
    desk.service.cycle.execute_slot(gate)

    assert desk.trade_states() == ["abandoned"]
    assert desk.broker.posts == []


WRONG = {
    "a pair without its second leg": ("SET symbol_2 = NULL WHERE instance_id IS NULL", "legs_known"),
    "a pair without a second target": ("SET target_2 = 0 WHERE instance_id IS NULL", "legs_known"),
    "a pair that nobody registered": ("SET pair_id = 'NO/PE' WHERE instance_id IS NULL", "pair_registry"),
    "two owners": ("SET instance_id = 'trend' WHERE instance_id IS NULL", "legs_known"),
    "a second leg": ("SET symbol_2 = 'BBB' WHERE instance_id IS NOT NULL", "legs_known"),
    "a second target": ("SET target_2 = 1 WHERE instance_id IS NOT NULL", "legs_known"),
    "no target": ("SET target_1 = 0 WHERE instance_id IS NOT NULL", "legs_known"),
    "no owner": ("SET instance_id = NULL WHERE instance_id IS NOT NULL", "legs_known|pair_registry"),
    "another's name": ("SET pair_id = 'other:AAA' WHERE instance_id IS NOT NULL", "legs_known"),
}


@pytest.mark.parametrize(("change", "refused_by"), WRONG.values(), ids=WRONG.keys())
def test_the_tables_hold_a_pair_to_two_legs_and_an_instance_to_one(desk: Desk, change: str, refused_by: str) -> None:
    desk.approve(ENTER, quantities=(10, -8), pair="DDD/EEE")
    entered(desk)

    with pytest.raises(IntegrityError, match=refused_by), desk.engine.begin() as connection:
        connection.execute(text(f"UPDATE execution.pair_trade {change}"))


BREACHES = {
    "I3": "UPDATE execution.position SET quantity = 4",
    "I5": "UPDATE execution.position SET quantity = 0",
    "I6": "UPDATE execution.pair_trade SET version = 9",
    "I7": "UPDATE risk.risk_decision SET approved = false, code = 'RISK_STATE'",
}


@pytest.mark.parametrize(("name", "change"), BREACHES.items(), ids=BREACHES.keys())
def test_verify_finds_what_is_wrong_with_it(desk: Desk, name: str, change: str) -> None:
    entered(desk)
    assert desk.broken_invariants() == []
    with desk.engine.begin() as connection:
        connection.execute(text(change))

    assert name in {breach.split()[0] for breach in desk.broken_invariants()}


def _set(desk: Desk, state: RiskState) -> None:
    with desk.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO risk.risk_state (id, state, who, why, version, since)"
                " VALUES (1, :state, 'ada', 'test', 1, :at) ON CONFLICT (id) DO UPDATE SET state = :state"
            ),
            {"state": state.value, "at": SLOT},
        )
