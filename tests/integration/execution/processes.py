"""Execution in processes of their own, against a twin: to run two at once, or to have one killed on the way."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from loguru import logger
from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.ports import TradingBroker
from src.shared.domain.errors import NotTheWriter
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.failpoints import arm
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine, translated_errors
from src.shared.infra.database.tables import pair_signal, pair_trade, risk_decision
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.twin_server import TwinHandle
from tests.forked import context

START = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
FIRST, SECOND = "KELV", "KYLO"
ROOT = Path(__file__).resolve().parents[3]
PAIR = f"{FIRST}/{SECOND}"
MARKET_SECONDS_A_SECOND = 30.0
"""An hour of the market lasts two minutes: orders fill soon, and a cycle ends within its hour."""

SHORT = timedelta(seconds=60)
OVERTAKEN = 42
QUICK = {
    "TRADEWINDS_ENV_FILE": "/nonexistent",
    "TRADEWINDS_EXECUTION_UNKNOWN_WINDOW_SECONDS": "0.3",
    "TRADEWINDS_EXECUTION_POLL_SECONDS": "0.02",
    "TRADEWINDS_EXECUTION_LEG_DEADLINE_SECONDS": "20",
    "TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS": "30",
    "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": "10000",
}


def service_for(database_url: str) -> tuple[ExecutionService, TradingBroker, Engine]:
    """Wire execution as a process of its own does; the environment must hold `QUICK`."""
    settings = load_settings()
    engine = make_engine(database_url, settings.database)
    broker = make_alpaca_client(settings)
    return build(settings, engine, broker), broker, engine


def run_slot(database_url: str, twin_url: str, barrier: Any) -> None:
    """Run one cycle; the whole of a child process."""
    service = _service_of_a_process(database_url, twin_url)
    barrier.wait(timeout=60)
    service.cycle.execute_slot(service.cycle.open_gate())


def run_slots(database_url: str, twin_url: str, barrier: Any, count: int) -> None:
    """Run so many cycles, each from when everybody stands at the barrier until everybody does again."""
    service = _service_of_a_process(database_url, twin_url)
    for _ in range(count):
        barrier.wait(timeout=60)
        service.cycle.execute_slot(service.cycle.open_gate())
        barrier.wait(timeout=60)


def run_armed_slot(database_url: str, twin_url: str, failpoints: str) -> None:
    """Run one cycle with failpoints armed, and leave with `OVERTAKEN` when another process took over."""
    service = _service_of_a_process(database_url, twin_url)
    gate = service.cycle.open_gate()
    arm(failpoints)
    try:
        service.cycle.execute_slot(gate)
    except NotTheWriter:
        sys.exit(OVERTAKEN)


def _service_of_a_process(database_url: str, twin_url: str) -> ExecutionService:
    logger.remove()
    os.environ.update(QUICK, TRADEWINDS_ALPACA_BASE_URL=twin_url, TRADEWINDS_ALPACA_DATA_URL=twin_url)
    service, _, _ = service_for(database_url)
    return service


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
        self.move_to(slot)
        approve(self.engine, slot, action)
        return slot

    def move_to(self, slot: datetime) -> None:
        """Move the market to just after a slot."""
        self.twin.admin.move_clock((slot + timedelta(seconds=5)).isoformat(), rate=MARKET_SECONDS_A_SECOND)

    def run_elsewhere(self, count: int) -> list[int]:
        """Run the cycle in so many processes at once; returns how each ended."""
        barrier = self.processes.Barrier(count)
        arguments = (self.database_url, self.twin.url, barrier)
        children = [self.processes.Process(target=run_slot, args=arguments) for _ in range(count)]
        for child in children:
            child.start()
        for child in children:
            child.join(SHORT.total_seconds())
        assert all(child.exitcode is not None for child in children)
        return [child.exitcode for child in children]

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


@contextmanager
def open_floor(database_url: str, twin: TwinHandle, *, is_new: bool = True) -> Iterator[Floor]:
    """A floor with one pair, at a time before its first slot; sets the environment for itself and its processes."""
    calendar = TradingCalendar()
    closes = {session.close for session in calendar.sessions(START.date(), START.date() + timedelta(days=60))}
    slots = (slot for slot in calendar.slots_between(START, START + timedelta(days=60)) if slot not in closes)
    with pytest.MonkeyPatch.context() as patch:
        # The server of processes takes its path from here alone.
        urls = {"TRADEWINDS_ALPACA_BASE_URL": twin.url, "TRADEWINDS_ALPACA_DATA_URL": twin.url}
        for name, value in {**QUICK, **urls, "PYTHONPATH": str(ROOT)}.items():
            patch.setenv(name, value)
        service, broker, engine = service_for(database_url)
        if is_new:
            with engine.begin() as connection:
                write_pair(connection, registered_pair(PAIR, START))
        try:
            yield Floor(database_url, twin, engine, service, broker, slots, context())
        finally:
            engine.dispose()


def approve(
    engine: Engine, slot: datetime, action: SignalAction, pair: str = PAIR, quantities: tuple[int, int] = (5, -4)
) -> None:
    """Write a signal and risk's approval of it, as their services do, unless they are there."""
    numbers: dict[str, Any] = {"numbers": {}, "action": action.value, "slot": slot, "pair_id": pair}
    first, second = quantities if action.is_entry else (0, 0)
    identity = signal_id(pair, slot)
    with translated_errors(engine), engine.begin() as connection:
        connection.execute(
            insert(pair_signal)
            .values(signal_id=identity, reason="ENTRY_Z", pair_mode="active", **numbers)
            .on_conflict_do_nothing()
        )
        connection.execute(
            insert(risk_decision)
            .values(
                decision_id=uuid4(),
                signal_id=identity,
                approved=True,
                code="APPROVED",
                reason="within limits",
                quantity_1=first,
                quantity_2=second,
                **numbers,
            )
            .on_conflict_do_nothing()
        )
