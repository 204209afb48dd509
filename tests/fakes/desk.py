"""A whole installation in one process: a database, a twin, and the services as flows and commands wire them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from loguru import logger
from sqlalchemy import func, insert, select

from src.config.settings import load_settings
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.tables import audit_log, fill, pair_signal, pair_trade, risk_decision
from src.shared.prefect.tasks.wiring import Services, services
from tests.conftest import TradingDatabase
from tests.fakes.pairs import registered_pair, write_pair
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.fakes.typed import Said, typing_commands

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
AFTER_HOURS = datetime(2025, 3, 3, 22, 0, tzinfo=UTC)
NEXT_OPEN = datetime(2025, 3, 4, 14, 31, tzinfo=UTC)
PAIR, FIRST, SECOND = "KELV/KYLO", "KELV", "KYLO"


@dataclass(frozen=True)
class Installation:
    """What a test does with it."""

    twin: TwinHandle
    database: TradingDatabase
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    @property
    def services(self) -> Services:
        return services()

    def tradewinds(self, *words: str) -> Said:
        """Type a command."""
        return typing_commands(self.monkeypatch, self.capsys)(*words)

    def approve(self, action: SignalAction, slot: datetime = SLOT, pair: str = PAIR) -> None:
        """Write a signal and an approval of it, as strategy and risk do."""
        shared: dict[str, Any] = {"action": action.value, "slot": slot, "pair_id": pair}
        identity, first, second = signal_id(pair, slot), *((5, -4) if action.is_entry else (0, 0))
        with self.services.engine.begin() as connection:
            signal = {"signal_id": identity, "reason": "ENTRY_Z", "pair_mode": "active", "numbers": {"z": -2.25}}
            connection.execute(insert(pair_signal).values(**signal, **shared))
            decision = {
                "approved": True,
                "code": "APPROVED",
                "reason": "within limits",
                "numbers": {"gross": {"a": 1}},
            }
            connection.execute(
                insert(risk_decision).values(
                    decision_id=uuid4(),
                    signal_id=identity,
                    quantity_1=first,
                    quantity_2=second,
                    **decision,
                    **shared,
                )
            )

    def trade(self) -> None:
        """Run execution's cycle for the slot."""
        cycle = self.services.execution.cycle
        cycle.execute_slot(cycle.open_gate())

    def open_trade(self) -> None:
        """Have one open trade of 5 KELV against -4 KYLO."""
        self.approve(SignalAction.ENTER_LONG)
        self.trade()
        assert self.states() == ["open"]

    def move_to(self, moment: datetime) -> None:
        self.twin.admin.move_clock(moment.isoformat())

    def states(self) -> list[str]:
        with self.services.engine.connect() as connection:
            return list(connection.execute(select(pair_trade.c.state).order_by(pair_trade.c.slot)).scalars())

    def trade_results(self) -> list[Decimal | None]:
        with self.services.engine.connect() as connection:
            return list(connection.execute(select(pair_trade.c.realized_pnl).order_by(pair_trade.c.slot)).scalars())

    def cash_of_fills(self) -> Decimal:
        """Dollars that our own executions moved."""
        with self.services.engine.connect() as connection:
            return -Decimal(connection.execute(select(func.sum(fill.c.quantity * fill.c.price))).scalar_one())

    def held(self) -> dict[str, int]:
        return {each.symbol: int(each.quantity) for each in self.services.broker.positions()}

    def orders(self) -> list[tuple[str, int]]:
        """Symbol and signed shares of every order at the broker, oldest first."""
        found = self.services.broker.orders_since(SLOT - timedelta(days=1))
        return [(order.symbol, int(order.quantity)) for order in found]

    def audits(self) -> list[tuple[str, str, str, str]]:
        a = audit_log.c
        with self.services.engine.connect() as connection:
            rows = connection.execute(select(a.who, a.what, a.subject, a.why).order_by(a.audit_id))
            return [(row.who, row.what, row.subject, row.why) for row in rows]


@contextmanager
def installation(
    database: TradingDatabase, monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Installation]:
    """Wire it in the third hour of a session, with one pair registered."""
    with running_twin(clock=(SLOT + timedelta(seconds=5)).isoformat()) as twin, _logging_kept():
        chosen = {
            "ENV_FILE": os.devnull,
            "HOME": str(home),
            "DATABASE_URL": database.url(driver="libpq"),
            "ALPACA_BASE_URL": twin.url,
            "ALPACA_DATA_URL": twin.url,
            "ALPACA_REQUESTS_PER_MINUTE": "10000",
            "POLYGON_BASE_URL": twin.url,
            "POLYGON_REQUESTS_PER_MINUTE": "10000",
            "YAHOO_BASE_URL": f"{twin.url}/yahoo",
            "YAHOO_REQUESTS_PER_MINUTE": "10000",
            "YAHOO_READ_TIMEOUT_SECONDS": "5",
            "EXECUTION_POLL_SECONDS": "0.02",
            "EXECUTION_LEG_DEADLINE_SECONDS": "2",
            "EXECUTION_WRITER_WAIT_SECONDS": "20",
        }
        for name, value in chosen.items():
            monkeypatch.setenv(f"TRADEWINDS_{name}", value)
        services.cache_clear()
        made = Installation(twin, database, monkeypatch, capsys)
        with made.services.engine.begin() as connection:
            write_pair(connection, registered_pair(PAIR, SLOT))
        try:
            yield made
        finally:
            made.services.engine.dispose()
            services.cache_clear()


def another_process() -> Services:
    """Wire the same installation once more, as a second process does."""
    return Services(load_settings())


@contextmanager
def _logging_kept() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        logging.captureWarnings(capture=False)
        logger.remove()
        logger.configure(patcher=None)
        logger.add(sys.__stderr__ or sys.stderr)
