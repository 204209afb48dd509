"""Risk management's store and broker in memory: set the facts, run the use case, look at what was kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from src.services.risk_management.domain.equity import CashFlow, DayStart, EquityPoint, equity_history, restated
from src.services.risk_management.domain.events import EarningsReport, MarketEvent
from src.services.risk_management.domain.review import OpenTrade, SlotSignal
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.services.risk_management.domain.values import LimitChange, LimitRow, in_force
from src.services.risk_management.ports import PairFit, Reading
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import Transient
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.domain.risk import RiskDecision
from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised


@dataclass
class FakeRiskRepository:
    """Implements `RiskRepository` with plain lists; `series` is returned for any closes asked for.

    `points` is equity by slot; it was read at the slot's moment, unless `taken_at` says otherwise.
    """

    asking: list[SlotSignal] = field(default_factory=list)
    stored: list[RiskDecision] = field(default_factory=list)
    state: Standing = field(default_factory=Standing)
    notes: list[AuditNote] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    points: dict[datetime, Decimal] = field(default_factory=dict)
    taken_at: dict[datetime, datetime] = field(default_factory=dict)
    trades: list[OpenTrade] = field(default_factory=list)
    results: dict[str, list[Decimal]] = field(default_factory=dict)
    orders: tuple[int, int] = (0, 0)
    series: CloseSeries | None = None
    limits: list[LimitRow] = field(default_factory=list)
    flows: list[CashFlow] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    booked: Decimal = Decimal(0)
    events: list[MarketEvent] = field(default_factory=list)
    reports: list[EarningsReport] = field(default_factory=list)
    fits: dict[str, PairFit] = field(default_factory=dict)
    alerts: list[AlertRaised] = field(default_factory=list)

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

    def last_equity_at(self) -> datetime | None:
        return max((point.at for point in self._series()), default=None)

    def record_equity(self, slot: datetime, taken_at: datetime, account: AccountReport) -> None:
        if slot not in self.points:
            self.points[slot], self.taken_at[slot] = account.equity, taken_at

    def equity_history(self, now: EquityPoint, day: DayStart) -> EquityHistory:
        points = [point for point in self._series() if point.at <= now.at]
        return equity_history(points, self.flows, now, day, None)

    def equity_points(self, since: datetime, now: EquityPoint) -> list[EquityPoint]:
        return restated([*(point for point in self._series() if since <= point.at <= now.at), now], self.flows)

    def add_reading(self, reading: Reading) -> None:
        if all(known.taken_at != reading.taken_at for known in self.readings):
            self.readings.append(reading)

    def add_cash_flows(self, flows: Sequence[CashFlow]) -> list[CashFlow]:
        new = [flow for flow in flows if flow.id not in {known.id for known in self.flows}]
        self.flows.extend(new)
        return new

    def limit_rows(self) -> list[LimitRow]:
        return list(in_force(self.limits).rows.values())

    def limit_history(self, name: str) -> list[LimitRow]:
        return [row for row in self.limits if row.name == name]

    def add_limits(self, changes: Sequence[LimitChange]) -> None:
        since = datetime(2026, 1, 1, tzinfo=UTC)
        for change in changes:
            row = LimitRow(
                change.name, change.value, change.who, change.why, change.version, since, len(self.limits) + 1
            )
            self.limits.append(row)

    def booked_since(self, moment: datetime) -> Decimal:
        return self.booked

    def upcoming_events(self, symbols: Sequence[str], first: date, last: date) -> list[MarketEvent]:
        return [event for event in self.events if event.symbol in symbols and first <= event.day <= last]

    def earnings_reports(self, symbols: Sequence[str], since: date) -> list[EarningsReport]:
        return [report for report in self.reports if report.symbol in symbols and report.last_day >= since]

    def pair_fit(self, pair_id: str) -> PairFit | None:
        return self.fits.get(pair_id)

    def add_alert(self, alert: AlertRaised) -> bool:
        is_new = alert.event_id not in {known.event_id for known in self.alerts}
        if is_new:
            self.alerts.append(alert)
        return is_new

    def _series(self) -> list[EquityPoint]:
        points = [EquityPoint(self.taken_at.get(slot, slot), equity) for slot, equity in self.points.items()]
        readings = [EquityPoint(reading.taken_at, reading.equity) for reading in self.readings]
        return sorted([*points, *readings], key=lambda point: point.at)

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
    flows: list[CashFlow] = field(default_factory=list)
    is_away: bool = False
    calls: list[str] = field(default_factory=list)

    def account(self) -> AccountReport:
        self._called("account")
        return self.report

    def assets(self, symbols: Sequence[str], day: date) -> dict[str, AssetReport]:
        self._called("assets")
        return {s: AssetReport(s, s, "NYSE", True, s not in self.not_shortable, True) for s in symbols}

    def cash_flows(self, since: datetime) -> list[CashFlow]:
        self._called("cash_flows")
        return [flow for flow in self.flows if flow.latest > since]

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.is_away:
            raise Transient("the broker does not answer")
