"""What execution needs from outside, in domain words. The broker's port is shared: `src.shared.ports.broker`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from src.shared.domain.orders import FillReport, OrderIntent
from src.shared.domain.pairs import PairTrade
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction
from src.shared.ports.broker import Broker


@dataclass(frozen=True)
class Approval:
    """A signal that risk approved in a slot. Quantities are signed shares; zero for an exit."""

    pair_id: str
    symbol_1: str
    symbol_2: str
    beta: float
    action: SignalAction
    quantity_1: Decimal
    quantity_2: Decimal


class TradeStore(Protocol):
    """Pair trades, order intents and books, within one transaction."""

    def approvals(self, slot: datetime) -> list[Approval]:
        """List what risk approved in a slot: exits first, then entries in the order of approval."""
        ...

    def trade(self, trade_id: UUID) -> PairTrade | None:
        """Return one trade."""
        ...

    def open_trade(self, pair_id: str) -> PairTrade | None:
        """Return the pair's unfinished trade, if it has one; those that a late fill reopened are not meant."""
        ...

    def has_reopened(self, pair_id: str) -> bool:
        """Say whether a late fill brought back a trade of the pair that is not over yet."""
        ...

    def holding_since(self) -> dict[str, datetime]:
        """Return, by symbol that is held, the slot of the oldest trade that holds it."""
        ...

    def known_broker_orders(self, broker_order_ids: Iterable[str]) -> frozenset[str]:
        """Return those of the broker's order ids that an intent of ours has."""
        ...

    def misbooked(self) -> list[tuple[OrderIntent, Decimal]]:
        """List orders that are done and whose booked executions are not what they filled, with the booked shares."""
        ...

    def note_market_time(self, now: datetime) -> datetime | None:
        """Keep the latest time that the broker's clock showed; return what it was before."""
        ...

    def trades_in_motion(self) -> list[PairTrade]:
        """List trades that are neither finished nor quietly open, oldest first."""
        ...

    def add_trade(self, trade: PairTrade, epoch: int) -> bool:
        """Insert a trade; False when the pair had one in this slot, or has one open.

        Raises:
            NotTheWriter: another process took over.
        """
        ...

    def save_trade(self, trade: PairTrade, epoch: int) -> None:
        """Write a trade that moved on by one version, if the caller's epoch is still the account's.

        Raises:
            NotTheWriter: another process took over.
            Transient: somebody else moved it first.
        """
        ...

    def intents(self, trade_id: UUID) -> list[OrderIntent]:
        """List a trade's orders, oldest first."""
        ...

    def add_intent(self, intent: OrderIntent) -> None:
        """Insert an intent, if the caller's epoch is still the account's.

        Raises:
            NotTheWriter: another process took over.
        """
        ...

    def save_intent(self, intent: OrderIntent, epoch: int) -> None:
        """Write an intent that moved on by one version, if the caller's epoch is still the account's.

        Raises:
            NotTheWriter: another process took over.
            Transient: somebody else moved it first.
        """
        ...

    def booked(self, trade_id: UUID) -> dict[str, Decimal]:
        """Return signed shares booked per intent id."""
        ...

    def book(self, intent: OrderIntent, fill: FillReport) -> bool:
        """Book one execution: the fill, its ledger entry and the position; False when it was booked before."""
        ...

    def realized_pnl(self, trade_id: UUID) -> Decimal:
        """Sum the dollars that a trade's executions moved into cash."""
        ...

    def holdings(self) -> dict[str, Decimal]:
        """Return signed shares by symbol over all pair trades, without zeros."""
        ...

    def intents_named(self, client_order_ids: Iterable[str]) -> dict[str, OrderIntent]:
        """Return those of the ids that have an intent, with it."""
        ...

    def risk_state(self) -> RiskState:
        """Return the account's risk state as it is now."""
        ...

    def held_risk_state(self) -> RiskState:
        """Return the risk state and keep it from being changed until this transaction is over."""
        ...

    def quarantine(self, kind: str, reason: str, raw: str, slot: datetime, at: datetime) -> bool:
        """Keep what can't be used for a person to look at; the same object is one line. False when it was there."""
        ...

    def note_alert(self, severity: str, title: str, detail: str, slot: datetime, at: datetime) -> UUID:
        """Record something a person should know; the same alert of the same slot once."""
        ...


class WriterLock(Protocol):
    """At most one process writes orders for the account."""

    def __call__(self, wait: bool = True) -> AbstractContextManager[int]:
        """Become the writer; yields the epoch that every intent must carry. Without `wait` it is now or not at all.

        Raises:
            NotTheWriter: another process is.
        """
        ...


class UnreadRow(Protocol):
    """A row of one of the broker's answers that could not be read."""

    @property
    def kind(self) -> str:
        """What it should have been: position, order, fill, …"""
        ...

    @property
    def reason(self) -> str:
        """Why it can't be read."""
        ...

    @property
    def raw(self) -> str:
        """The row as it came."""
        ...


class TradingBroker(Broker, Protocol):
    """A broker that also says what it could not read: a list without such a row must not pass for complete."""

    def take_quarantined(self) -> Sequence[UnreadRow]:
        """Hand over, once, the rows that could not be read since the last call."""
        ...


class WallClock(Protocol):
    """The host's time, for waiting only."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
