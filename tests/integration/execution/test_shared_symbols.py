"""Two pairs in one symbol, and somebody else in the account, at a twin that refuses what a venue refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.ports import TradingBroker
from src.shared.domain.orders import OrderReport
from src.shared.domain.signals import SignalAction
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import pair_trade
from tests.conftest import TradingDatabase
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.integration.execution.processes import QUICK, approve
from tests.polling import eventually

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENTER_LONG, ENTER_SHORT, EXIT = SignalAction.ENTER_LONG, SignalAction.ENTER_SHORT, SignalAction.EXIT
ONE, OTHER = "KELV/KYLO", "KELV/QVEL"


@dataclass
class Floor:
    """A twin, a database, and execution between them."""

    twin: TwinHandle
    engine: Engine
    service: ExecutionService
    broker: TradingBroker
    slot: datetime = SLOT

    def approve(self, pair: str, action: SignalAction, quantities: tuple[int, int] = (0, 0)) -> None:
        approve(self.engine, self.slot, action, pair, quantities)

    def next_hour(self) -> None:
        self.slot += HOUR
        self.twin.admin.move_clock((self.slot + timedelta(seconds=5)).isoformat(), rate=30.0)

    def run(self) -> None:
        self.service.cycle.execute_slot(self.service.cycle.open_gate())

    def states(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return dict(connection.execute(select(pair_trade.c.pair_id, pair_trade.c.state)).tuples().all())

    def held(self) -> dict[str, int]:
        return {each.symbol: int(each.quantity) for each in self.broker.positions()}

    def refused(self) -> int:
        return sum(order.status == "rejected" for order in self.broker.orders_since(SLOT - HOUR))

    def broken_invariants(self) -> list[str]:
        found = self.service.verification.run(SLOT - HOUR)
        return [f"{i.name} {b}" for i in found for b in i.breaches if not b.startswith(("signal ", "risk_", "pair "))]


@pytest.fixture
def floor(trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    with running_twin(seed=11) as twin:
        monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", twin.url)
        monkeypatch.setenv("TRADEWINDS_ALPACA_DATA_URL", twin.url)
        settings = load_settings()
        engine = make_engine(trading_database.app_url, settings.database)
        with engine.begin() as connection:
            for pair in (ONE, OTHER):
                write_pair(connection, registered_pair(pair, SLOT))
        twin.admin.move_clock((SLOT + timedelta(seconds=5)).isoformat(), rate=30.0)
        broker = make_alpaca_client(settings)
        yield Floor(twin, engine, build(settings, engine, broker), broker)
        engine.dispose()


def test_two_pairs_that_hold_the_same_symbol_are_closed_in_one_cycle_without_a_refusal(floor: Floor) -> None:
    for pair in (ONE, OTHER):
        floor.approve(pair, ENTER_LONG, (5, -4))
    floor.run()
    assert floor.held() == {"KELV": 10, "KYLO": -4, "QVEL": -4}

    floor.next_hour()
    for pair in (ONE, OTHER):
        floor.approve(pair, EXIT)
    floor.run()

    assert floor.states() == {ONE: "closed", OTHER: "closed"}
    assert floor.held() == {}
    assert len(floor.broker.orders_since(SLOT - HOUR)) == 8
    assert floor.refused() == 0
    assert floor.broken_invariants() == []


def test_a_pair_that_wants_the_other_side_waits_its_turn_and_strands_no_leg(floor: Floor) -> None:
    floor.approve(ONE, ENTER_LONG, (5, -4))
    floor.approve(OTHER, ENTER_SHORT, (-5, 4))
    floor.run()
    assert floor.states() == {ONE: "open", OTHER: "abandoned"}
    assert floor.held() == {"KELV": 5, "KYLO": -4}

    floor.next_hour()
    floor.approve(ONE, EXIT)
    floor.approve(OTHER, ENTER_SHORT, (-5, 4))
    floor.run()

    assert floor.held() == {"KELV": -5, "QVEL": 4}
    assert floor.broken_invariants() == []


def test_an_opposite_position_that_appears_before_the_second_leg_unwinds_the_first(floor: Floor) -> None:
    floor.approve(ONE, ENTER_LONG, (5, -4))
    real = floor.broker.submit_market_order
    appeared: list[int] = []

    def submit(name: str, symbol: str, quantity: Decimal, **options: bool) -> OrderReport:
        if symbol == "KELV" and not appeared:
            appeared.append(1)
            real(f"by-hand-{uuid4()}", "KELV", Decimal(-3))
            eventually(lambda: floor.held().get("KELV") == -3)
        return real(name, symbol, quantity, **options)

    floor.broker.submit_market_order = submit  # type: ignore[method-assign, assignment]
    floor.run()

    assert floor.states() == {ONE: "unwound"}
    assert floor.held() == {"KELV": -3}
    assert floor.broken_invariants() == []
