"""Risk management's store and broker in memory: set the facts, run the use case, look at what was kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from src.services.risk_management.domain.review import OpenTrade, SlotSignal
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import Transient
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.domain.risk import RiskDecision
from src.shared.messages.base import Event


@dataclass
class FakeRiskRepository:
    """Implements `RiskRepository` with plain lists; `series` is returned for any closes asked for."""

    asking: list[SlotSignal] = field(default_factory=list)
    stored: list[RiskDecision] = field(default_factory=list)
    state: Standing = field(default_factory=Standing)
    notes: list[AuditNote] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    points: dict[datetime, Decimal] = field(default_factory=dict)
    trades: list[OpenTrade] = field(default_factory=list)
    results: dict[str, list[Decimal]] = field(default_factory=dict)
    orders: tuple[int, int] = (0, 0)
    series: CloseSeries | None = None

    def lock(self) -> None:
        """One thread has it to itself."""

    def signals(self, slot: datetime) -> list[SlotSignal]:
        return list(self.asking)

    def decisions(self, slot: datetime) -> list[RiskDecision]:
        return sorted((d for d in self.stored if d.slot == slot), key=lambda d: d.pair_id)

    def add_decisions(self, decisions: Sequence[RiskDecision]) -> None:
        self.stored.extend(decisions)

    def tell(self, events: Sequence[Event]) -> None:
        self.told.extend(events)

    def standing(self) -> Standing:
        return self.state

    def save_standing(self, standing: Standing, since: datetime) -> None:
        self.state = replace(standing, since=since)

    def note(self, note: AuditNote) -> None:
        self.notes.append(note)

    def has_equity(self, slot: datetime) -> bool:
        return slot in self.points

    def record_equity(self, slot: datetime, account: AccountReport) -> None:
        self.points.setdefault(slot, account.equity)

    def equity_history(self, slot: datetime, now: Decimal, midnight: datetime) -> EquityHistory:
        today = [value for moment, value in sorted(self.points.items()) if midnight <= moment <= slot]
        return EquityHistory(now, max([now, *self.points.values()]), today[0] if today else now)

    def open_trades(self) -> list[OpenTrade]:
        return list(self.trades)

    def closed_results(self, pair_ids: Sequence[str], count: int) -> dict[str, list[Decimal]]:
        return {pair: self.results[pair][-count:] for pair in pair_ids if pair in self.results}

    def orders_since(self, minute_ago: datetime, midnight: datetime) -> tuple[int, int]:
        return self.orders

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        assert self.series is not None, "the fake was given no closes"
        return self.series


@dataclass
class FakeRiskWork:
    """An open transaction on a copy of the store."""

    store: FakeRiskStore
    repo: FakeRiskRepository

    def record(self, event: Event) -> None:
        self.repo.tell([event])

    def commit(self) -> None:
        self.store.repo = self.repo


@dataclass
class FakeRiskStore:
    """Implements `UnitOfWork[RiskRepository]`: what was not committed is gone."""

    repo: FakeRiskRepository

    @property
    def events(self) -> list[Event]:
        return self.repo.told

    @contextmanager
    def __call__(self) -> Iterator[FakeRiskWork]:
        yield FakeRiskWork(self, copy.deepcopy(self.repo))


@dataclass
class FakeBrokerFacts:
    """Implements `BrokerFacts`; `is_away` makes every call fail, `calls` counts them by name."""

    report: AccountReport
    not_shortable: set[str] = field(default_factory=set)
    is_away: bool = False
    calls: list[str] = field(default_factory=list)

    def account(self) -> AccountReport:
        self._called("account")
        return self.report

    def assets(self, symbols: Sequence[str], day: date) -> dict[str, AssetReport]:
        self._called("assets")
        return {s: AssetReport(s, s, "NYSE", True, s not in self.not_shortable, True) for s in symbols}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.is_away:
            raise Transient("the broker does not answer")
