"""Execution at work: the service on a real database, its broker in memory, and what a test does with both."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert, select

from src.services.execution.bootstrap import ExecutionService
from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.errors import OutcomeUnknown, Transient
from src.shared.domain.orders import OrderReport
from src.shared.domain.signals import SignalAction, signal_id
from src.shared.infra.database.tables import alert, instance, pair_signal, pair_trade, risk_decision
from tests.fakes.broker import FakeBroker
from tests.fakes.pairs import registered_pair, write_pair

SLOT = datetime(2025, 3, 3, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Desk:
    """The service, its broker and its database."""

    service: ExecutionService
    broker: FakeBroker
    engine: Engine

    def approve(
        self,
        action: SignalAction,
        slot: datetime = SLOT,
        quantities: tuple[int, int] = (0, 0),
        pair: str = "AAA/BBB",
        judged: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        numbers: dict[str, Any] = {"numbers": dict(judged), "action": action.value, "slot": slot, "pair_id": pair}
        instance, colon, symbol = pair.partition(":")
        named = {"instance_id": instance, "symbol": symbol} if colon else {}
        with self.engine.begin() as connection:
            connection.execute(
                insert(pair_signal).values(
                    signal_id=signal_id(pair, slot), reason="ENTRY_Z", pair_mode="active", **named, **numbers
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

    def interrupted(self, call: str, after: bool = False) -> None:
        """Run the slot with a process that ends at its first call of the broker's `call`, or right after it."""
        gate = self.service.cycle.open_gate()
        real = getattr(self.broker, call)

        def die(*args: Any, **options: Any) -> None:
            if after:
                real(*args, **options)
            raise KeyboardInterrupt

        setattr(self.broker, call, die)
        with pytest.raises(KeyboardInterrupt):
            self.service.cycle.execute_slot(gate)
        setattr(self.broker, call, real)

    def alerts(self) -> list[tuple[str, str]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(alert.c.severity, alert.c.title))]

    def held(self) -> dict[str, int]:
        return {p.symbol: int(p.quantity) for p in self.broker.positions()}

    def held_in_the_books(self) -> dict[str, int]:
        with self.service.cycle.store() as work:
            return {symbol: int(shares) for symbol, shares in work.repo.holdings().items()}

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


def given_up_but_placed(desk: Desk) -> str:
    """Give an entry up whose order the broker has, and hides; return the order's id."""
    desk.approve(SignalAction.ENTER_LONG, quantities=(10, -8))
    desk.broker.script["BBB"] = deque(["hidden"])
    lookup, listing, real = desk.broker.order_by_client_id, desk.broker.orders_since, desk.broker.submit_market_order

    def answer_none_again(name: str, symbol: str, quantity: Decimal, *, urgent: bool = False) -> OrderReport:
        if name in desk.broker.orders:
            raise OutcomeUnknown("read timed out")
        return real(name, symbol, quantity, urgent=urgent)

    desk.broker.submit_market_order = answer_none_again  # type: ignore[method-assign,assignment]
    desk.broker.order_by_client_id = lambda *_, **__: None  # type: ignore[method-assign]
    desk.broker.orders_since = lambda *_: []  # type: ignore[method-assign]
    with pytest.raises(Transient):
        desk.run()
    desk.next_hour()
    desk.service.cycle.open_gate()
    assert desk.trade_states() == ["abandoned"]
    desk.broker.order_by_client_id, desk.broker.orders_since = lookup, listing  # type: ignore[method-assign]
    desk.broker.submit_market_order = real  # type: ignore[method-assign]
    return desk.broker.posts[0]


def make_instance(engine: Engine, name: str = "trend") -> None:
    """Let an instance trade in symbols."""
    values = {"strategy": "momentum", "account": "main", "market": "XNYS", "config": {}, "mode": "active"}
    with engine.begin() as connection:
        connection.execute(insert(instance).values(instance_id=name, **values, updated_at=SLOT))


def register_pairs(engine: Engine) -> None:
    """Let three pairs trade; two of them share a symbol."""
    with engine.begin() as connection:
        for pair in ("AAA/BBB", "BBB/CCC", "DDD/EEE"):
            write_pair(connection, registered_pair(pair, SLOT))
