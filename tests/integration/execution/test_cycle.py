"""Execution on real PostgreSQL with a broker that can be told what to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert, select, text

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import NotTheWriter, Transient
from src.shared.domain.orders import OrderState
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import (
    order_intent,
    outbox,
    pair_registry,
    pair_signal,
    pair_trade,
    risk_decision,
)
from tests.conftest import TradingDatabase
from tests.fakes.broker import FakeBroker, FakeClock

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Desk:
    """The service, its broker and its database."""

    service: ExecutionService
    broker: FakeBroker
    engine: Engine

    def approve(
        self, action: SignalAction, slot: datetime = SLOT, quantities: tuple[int, int] = (0, 0), pair: str = "AAA/BBB"
    ) -> None:
        numbers: dict[str, Any] = {"numbers": {}, "action": action.value, "slot": slot, "pair_id": pair}
        with self.engine.begin() as connection:
            connection.execute(
                insert(pair_signal).values(
                    signal_id=signal_id(pair, slot), reason="ENTRY_Z", pair_mode="active", **numbers
                )
            )
            connection.execute(
                insert(risk_decision).values(
                    decision_id=uuid4(),
                    signal_id=signal_id(pair, slot),
                    approved=True,
                    code="APPROVED",
                    reason="within limits",
                    quantity_1=quantities[0],
                    quantity_2=quantities[1],
                    **numbers,
                )
            )

    def run(self) -> Gate:
        gate = self.service.cycle.open_gate()
        self.service.cycle.execute_slot(gate)
        return gate

    def next_hour(self) -> datetime:
        self.broker.now += HOUR
        return SLOT + HOUR

    def trade_states(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(pair_trade.c.state).order_by(pair_trade.c.recorded_at)).scalars())

    def broken_invariants(self) -> list[str]:
        found = self.service.verification.run(SLOT - HOUR)
        assert [i.name for i in found] == [f"I{n}" for n in range(1, 9)]
        # Signals and decisions are written here without their events; their services tell them.
        return [f"{i.name} {b}" for i in found for b in i.breaches if not b.startswith(("signal ", "risk_", "pair "))]


@pytest.fixture
def desk(trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS", "0.2")
    settings = load_settings()
    engine = make_engine(trading_database.app_url, settings.database)
    broker = FakeBroker()
    with engine.begin() as connection:
        for first, second in (("AAA", "BBB"), ("BBB", "CCC")):
            connection.execute(insert(pair_registry).values(**_pair(first, second)))
    yield Desk(build(settings, engine, broker, FakeClock()), broker, engine)
    engine.dispose()


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


def test_a_rejected_first_leg_abandons_the_trade_with_nothing_held(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["reject"])

    desk.run()

    assert desk.trade_states() == ["abandoned"]
    assert desk.broker.positions() == []
    assert desk.broken_invariants() == []


def test_a_leg_that_never_fills_is_cancelled_at_the_deadline_and_the_other_unwound(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["never"])

    desk.run()

    assert desk.trade_states() == ["unwound"]
    assert len(desk.broker.cancels) == 1
    assert desk.broken_invariants() == []


def test_a_half_filled_first_leg_sizes_the_second(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["half"])

    desk.run()

    assert desk.trade_states() == ["open"]
    assert {p.symbol: p.quantity for p in desk.broker.positions()} == {"AAA": 5, "BBB": -4}
    assert desk.broken_invariants() == []


def test_a_half_filled_second_leg_gives_the_excess_of_the_first_back(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["AAA"] = deque(["half"])

    desk.run()

    assert desk.trade_states() == ["open"]
    assert {p.symbol: p.quantity for p in desk.broker.positions()} == {"AAA": 5, "BBB": -4}
    assert desk.broken_invariants() == []


@pytest.mark.parametrize("leg", ["AAA", "BBB"])
@pytest.mark.parametrize(("outcome", "posts"), [("hidden", 2), ("lost", 3)])
def test_a_request_without_an_answer_ends_in_one_order(desk: Desk, leg: str, outcome: str, posts: int) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script[leg] = deque([outcome])

    desk.run()

    assert desk.trade_states() == ["open"]
    assert len(desk.broker.posts) == posts
    assert len(set(desk.broker.posts)) == 2
    assert desk.broken_invariants() == []


def test_a_leg_that_cannot_be_closed_is_orphaned_blocks_its_pair_and_is_tried_again(desk: Desk) -> None:
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.run()
    desk.approve(SignalAction.EXIT, slot=desk.next_hour())
    desk.broker.script["AAA"] = deque(["reject"] * 3)

    desk.run()
    assert desk.trade_states() == ["orphaned"]
    assert desk.broken_invariants() == []

    desk.next_hour()
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["closed"]
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

    def die_after_sending(client_order_id: str, symbol: str, quantity: Decimal) -> None:
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

    def overtaken(client_order_id: str, symbol: str, quantity: Decimal) -> object:
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


def _away(client_order_id: str) -> None:
    raise Transient(f"no answer about {client_order_id}")


def _pair(first: str, second: str) -> dict[str, object]:
    return {
        "pair_id": f"{first}/{second}",
        "symbol_1": first,
        "symbol_2": second,
        "alpha": 0.0,
        "beta": 0.8,
        "half_life_bars": 8.0,
        "z_window_bars": 16,
        "time_stop_bars": 24,
        "correlation": 0.9,
        "fitted_from": SLOT - timedelta(days=90),
        "fitted_to": SLOT,
        "mode": "active",
        "source": "test",
        "updated_at": SLOT,
    }
