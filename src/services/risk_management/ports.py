"""What risk management needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from src.services.risk_management.domain.equity import CashFlow, DayStart, EquityPoint
from src.services.risk_management.domain.events import EarningsReport, MarketEvent
from src.services.risk_management.domain.review import OpenTrade, SlotSignal
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.services.risk_management.domain.values import LimitChange, LimitRow
from src.shared.domain.audit import AuditNote
from src.shared.domain.bars import CloseSeries
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.domain.risk import RiskDecision
from src.shared.messages.base import Event
from src.shared.messages.ops import AlertRaised


class BrokerFacts(Protocol):
    """What the broker knows about the account and about symbols."""

    def account(self) -> AccountReport:
        """Read the account.

        Raises:
            Transient: no usable answer; reading again is harmless.
        """
        ...

    def assets(self, symbols: Sequence[str], day: date) -> dict[str, AssetReport]:
        """Read what may be traded, as of this New York day; an unknown symbol is absent. Raises as `account`."""
        ...

    def cash_flows(self, since: datetime) -> list[CashFlow]:
        """Read what came into the account from outside, or left it, since a moment. Raises as `account`."""
        ...


@dataclass(frozen=True)
class PairFit:
    """What sizing needs of a registered pair."""

    pair_id: str
    symbol_1: str
    symbol_2: str
    beta: float


@dataclass(frozen=True)
class Reading:
    """What the monitor saw of the portfolio at a moment, in dollars."""

    taken_at: datetime
    equity: Decimal
    gross: Decimal
    net: Decimal
    numbers: dict[str, object]


class RiskRepository(Protocol):
    """Decisions and what they are made from, within one transaction."""

    def lock(self) -> None:
        """Wait until no other review or change of state is under way, and keep others out until the end."""
        ...

    def signals(self, slot: datetime) -> list[SlotSignal]:
        """Read the slot's signals that ask for an entry or an exit."""
        ...

    def decisions(self, slot: datetime) -> list[RiskDecision]:
        """Read the slot's decisions as they were stored, by pair id."""
        ...

    def add_decisions(self, decisions: Sequence[RiskDecision]) -> None:
        """Store decisions."""
        ...

    def tell(self, events: Sequence[Event]) -> None:
        """Put events into the outbox at once; an event id that is there stays as it is."""
        ...

    def standing(self) -> Standing:
        """Read the risk state."""
        ...

    def save_standing(self, standing: Standing, since: datetime) -> None:
        """Replace the risk state by one in force since this moment."""
        ...

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        ...

    def has_equity(self, slot: datetime) -> bool:
        """Say whether the slot's equity is stored."""
        ...

    def last_equity_at(self) -> datetime | None:
        """Tell of which moment the last stored equity is, of a slot or of a reading; None before the first."""
        ...

    def record_equity(self, slot: datetime, taken_at: datetime, account: AccountReport) -> None:
        """Store the slot's equity with the moment at which it was read; the first word on a slot stays."""
        ...

    def equity_history(self, now: EquityPoint, day: DayStart) -> EquityHistory:
        """Compare `now` with the peak (since the last reset) and with what the day started with.

        Deposits and withdrawals are taken out; what was read after `now` does not count.
        """
        ...

    def equity_points(self, since: datetime, now: EquityPoint) -> list[EquityPoint]:
        """Read equity since a moment and up to now, oldest first, without deposits and withdrawals."""
        ...

    def add_reading(self, reading: Reading) -> None:
        """Store what the monitor saw; the first word on a moment stays."""
        ...

    def add_cash_flows(self, flows: Sequence[CashFlow]) -> list[CashFlow]:
        """Store flows and return those that were not known before."""
        ...

    def limit_rows(self) -> list[LimitRow]:
        """Read the last row of every limit."""
        ...

    def limit_history(self, name: str) -> list[LimitRow]:
        """Read every row of a limit, oldest first."""
        ...

    def add_limits(self, changes: Sequence[LimitChange]) -> None:
        """Add rows; from then on they are in force."""
        ...

    def booked_since(self, moment: datetime) -> Decimal:
        """Sum the P&L in dollars of all finished trades that ended, or had anything booked, since a moment.

        The result of a trade counts whole: a late fill or dividend brings all of it back.
        """
        ...

    def upcoming_events(self, symbols: Sequence[str], first: date, last: date) -> list[MarketEvent]:
        """Read the known events of these symbols on New York days `first` to `last`, by day."""
        ...

    def earnings_reports(self, symbols: Sequence[str], since: date) -> list[EarningsReport]:
        """Read when these symbols report, as far as it is told, from a New York day on."""
        ...

    def pair_fit(self, pair_id: str) -> PairFit | None:
        """Read a registered pair."""
        ...

    def add_alert(self, alert: AlertRaised) -> bool:
        """Store an alert; False when it is there already."""
        ...

    def open_trades(self) -> list[OpenTrade]:
        """Read all trades that are not finished, by name."""
        ...

    def closed_results(self, owners: Sequence[str], count: int) -> dict[str, list[Decimal]]:
        """Read the booked P&L of each owner's last `count` closed trades in dollars, oldest first."""
        ...

    def orders_since(self, minute_ago: datetime, midnight: datetime) -> tuple[int, int]:
        """Count the orders sent since each of two moments."""
        ...

    def closes(self, symbols: Sequence[str], ends: Sequence[datetime]) -> CloseSeries:
        """Read the closes of finished hourly bars on the grid of `ends`, NaN where there is none."""
        ...
