"""Check the invariants on a running system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from src.services.execution.domain.invariants import Facts, Invariant, check, check_books
from src.services.execution.domain.reconciliation import Kind
from src.services.execution.ports import WriterLock
from src.services.execution.use_cases.cycle import Gate
from src.shared.domain.ids import client_order_prefix
from src.shared.domain.orders import FillReport, OrderReport, PositionReport
from src.shared.ports.broker import Broker

_LOOKS = 3


class FactSource(Protocol):
    """Where the facts come from."""

    def load(
        self,
        broker_orders: Iterable[OrderReport],
        broker_positions: Iterable[PositionReport],
        broker_fills: Iterable[FillReport],
        since: datetime | None,
    ) -> Facts:
        """Read everything in one look; the broker's reports are all after `since`, None where it was not asked."""
        ...

    def changes(self) -> int:
        """Count every change of state and every booking there ever was."""
        ...


def verify_books(facts: FactSource, leg_tolerance: Decimal) -> list[Invariant]:
    """Check what can be checked of the books without the broker, as of a database that was restored."""
    return check_books(facts.load((), (), (), since=None), leg_tolerance)


@dataclass(frozen=True)
class Verification:
    """Looks at the books, the broker and the outbox, and reconciles once more to see that nothing moves."""

    facts: FactSource
    broker: Broker
    reconcile: Callable[[], Gate]
    become_writer: WriterLock
    environment: str
    leg_tolerance: Decimal

    def run(self, since: datetime) -> list[Invariant]:
        """Check I1 to I8 over broker orders and executions after `since`.

        Raises:
            NotTheWriter: a cycle is running now.
            Transient: the broker or the database can't be read.
        """
        still = self._second_reconcile()
        return [*check(self._look(since), self.leg_tolerance), still]

    def _look(self, since: datetime) -> Facts:
        """Read the broker's lists and the books while nobody trades: else what they say is of different moments.

        The lists may be long. Only where somebody traded each time that they were read are others kept from it.
        """
        for _ in range(_LOOKS):
            before = self.facts.changes()
            told = self._told(since)
            with self.become_writer():
                if self.facts.changes() == before:
                    return self.facts.load(*told, since)
        with self.become_writer():
            return self.facts.load(*self._told(since), since)

    def _told(self, since: datetime) -> tuple[list[OrderReport], list[PositionReport], list[FillReport]]:
        prefix = client_order_prefix(self.environment)
        orders = [o for o in self.broker.orders_since(since) if o.client_order_id.startswith(prefix)]
        return orders, self.broker.positions(), self.broker.fills_since(since)

    def _second_reconcile(self) -> Invariant:
        first = self.reconcile()
        before = self.facts.changes()
        second = self.reconcile()
        moved = self.facts.changes() - before
        breaches = [f"{moved} changes"] if moved else []
        # A leg that can't be closed stops entries, but there books and broker agree: I5 is about it.
        differing = [f for gate in (first, second) for f in gate.stops if f.kind is not Kind.ORPHAN]
        breaches += [f"differs: {finding.subject}: {finding.detail}" for finding in differing]
        return Invariant("I8", "a second reconcile changes nothing", 2, tuple(dict.fromkeys(breaches)))
