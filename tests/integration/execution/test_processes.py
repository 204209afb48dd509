"""The promise with real processes: killed anywhere or run twice at once, a slot trades once and no leg hangs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert, select

from src.services.execution.bootstrap import ExecutionService
from src.services.execution.ports import TradingBroker
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.tables import pair_registry, pair_signal, pair_trade, risk_decision
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.integration.execution.processes import QUICK, SHORT, Countdown, context, run_slot, service_for

START = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
FIRST, SECOND = "KELV", "KYLO"
ROOT = Path(__file__).resolve().parents[3]
PAIR = f"{FIRST}/{SECOND}"
MORE_THAN_A_CYCLE_DOES = 90
MARKET_SECONDS_A_SECOND = 30.0
"""An hour of the market lasts two minutes: orders fill soon, and a cycle ends within its hour."""


@dataclass
class Floor:
    """A database, a twin, and this process's own view of both."""

    database_url: str
    twin: TwinHandle
    engine: Engine
    service: ExecutionService
    broker: TradingBroker
    slots: Iterator[datetime]
    processes: Any

    def next_slot(self, action: SignalAction) -> datetime:
        """Move the market to the next hour in which one can trade, with an approval for it."""
        slot = next(self.slots)
        self.twin.admin.move_clock((slot + timedelta(seconds=5)).isoformat(), rate=MARKET_SECONDS_A_SECOND)
        _approve(self.engine, slot, action)
        return slot

    def run_elsewhere(self, *fatal: int) -> list[int]:
        """Run the cycle in so many processes at once; returns how each ended."""
        barrier = self.processes.Barrier(len(fatal))
        children = [
            self.processes.Process(target=run_slot, args=(self.database_url, self.twin.url, each, barrier))
            for each in fatal
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(SHORT.total_seconds())
        assert all(child.exitcode is not None for child in children)
        return [child.exitcode for child in children]

    def killed_then_run_again(self, action: SignalAction, fatal: int) -> int:
        """Trade the next slot in a process that is killed before its n-th step, then here; returns how it ended."""
        before, where = self.orders(), f"{action}, killed before its step {fatal}"
        self.next_slot(action)
        (ended,) = self.run_elsewhere(fatal)
        assert ended in (0, -signal.SIGKILL), where
        self.run_here()
        assert self.states()[-1] == ("open" if action.is_entry else "closed"), where
        assert self.held() == ({FIRST: 5, SECOND: -4} if action.is_entry else {}), where
        assert self.orders() == before + 2, where
        assert self.broken_invariants() == [], where
        return ended

    def run_here(self) -> None:
        self.service.cycle.execute_slot(self.service.cycle.open_gate())

    def states(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(pair_trade.c.state).order_by(pair_trade.c.slot)).scalars())

    def orders(self) -> int:
        return len(self.broker.orders_since(START - timedelta(days=1)))

    def held(self) -> dict[str, int]:
        return {each.symbol: int(each.quantity) for each in self.broker.positions()}

    def broken_invariants(self) -> list[str]:
        found = self.service.verification.run(START - timedelta(days=1))
        assert [i.name for i in found] == [f"I{n}" for n in range(1, 9)]
        # Signals and decisions are written here without their events; their services tell them.
        return [f"{i.name} {b}" for i in found for b in i.breaches if not b.startswith(("signal ", "risk_", "pair "))]


@pytest.fixture
def floor(trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    # The server of processes takes its path from here alone.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    calendar = TradingCalendar()
    closes = {session.close for session in calendar.sessions(START.date(), START.date() + timedelta(days=60))}
    slots = (slot for slot in calendar.slots_between(START, START + timedelta(days=60)) if slot not in closes)
    with running_twin(clock=START.isoformat()) as twin:
        monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", twin.url)
        monkeypatch.setenv("TRADEWINDS_ALPACA_DATA_URL", twin.url)
        service, broker, engine = service_for(trading_database.app_url, twin.url, Countdown(0))
        with engine.begin() as connection:
            connection.execute(insert(pair_registry).values(**_pair()))
        yield Floor(trading_database.app_url, twin, engine, service, broker, slots, context())
        engine.dispose()


@pytest.mark.timeout(600)
def test_a_cycle_killed_at_any_point_trades_its_slot_once_and_leaves_no_leg_alone(floor: Floor) -> None:
    """Enter and exit in turn, each killed one step later, until both get through alive."""
    for fatal in range(1, MORE_THAN_A_CYCLE_DOES):
        ends = [floor.killed_then_run_again(action, fatal) for action in (SignalAction.ENTER_LONG, SignalAction.EXIT)]
        if ends == [0, 0]:
            break
    assert 20 < fatal < MORE_THAN_A_CYCLE_DOES - 1


def test_two_processes_on_one_slot_trade_it_once(floor: Floor) -> None:
    for round_ in range(10):
        floor.next_slot(SignalAction.EXIT if round_ % 2 else SignalAction.ENTER_LONG)

        assert floor.run_elsewhere(0, 0) == [0, 0]

        assert floor.orders() == 2 * (round_ + 1)
        assert floor.states()[-1] == ("closed" if round_ % 2 else "open")
        assert floor.held() == ({} if round_ % 2 else {FIRST: 5, SECOND: -4})
    assert floor.broken_invariants() == []


def _approve(engine: Engine, slot: datetime, action: SignalAction) -> None:
    numbers: dict[str, Any] = {"numbers": {}, "action": action.value, "slot": slot, "pair_id": PAIR}
    quantities = {"quantity_1": 5, "quantity_2": -4} if action.is_entry else {"quantity_1": 0, "quantity_2": 0}
    identity = signal_id(PAIR, slot)
    with engine.begin() as connection:
        connection.execute(
            insert(pair_signal).values(signal_id=identity, reason="ENTRY_Z", pair_mode="active", **numbers)
        )
        connection.execute(
            insert(risk_decision).values(
                decision_id=uuid4(),
                signal_id=identity,
                approved=True,
                code="APPROVED",
                reason="within limits",
                **quantities,
                **numbers,
            )
        )


def _pair() -> dict[str, object]:
    return {
        "pair_id": PAIR,
        "symbol_1": FIRST,
        "symbol_2": SECOND,
        "alpha": 0.0,
        "beta": 0.8,
        "half_life_bars": 8.0,
        "z_window_bars": 16,
        "time_stop_bars": 24,
        "correlation": 0.9,
        "fitted_from": START - timedelta(days=90),
        "fitted_to": START,
        "mode": "active",
        "source": "test",
        "updated_at": START,
    }
