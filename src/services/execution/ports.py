"""What execution needs from outside, in domain words. The broker's port is shared: `src.shared.ports.broker`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from src.services.execution.domain.company_actions import Booking, Fraction, Times
from src.services.execution.domain.desk import (
    Close,
    Holding,
    OrderLine,
    OrderStory,
    Standing,
    SymbolPosition,
    TradeLine,
    TradeStory,
    WriteOff,
)
from src.shared.domain.audit import AuditNote
from src.shared.domain.corporate_actions import CorporateAction
from src.shared.domain.orders import FillReport, OrderIntent
from src.shared.domain.pairs import PairTrade, leg_symbols
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction
from src.shared.ports.broker import Broker, CorporateActionSource


@dataclass(frozen=True)
class Approval:
    """A signal that risk approved in a slot. Quantities are signed shares; zero for an exit.

    `buying_power` is what the broker will reserve for all legs of an entry, in dollars, as risk reckoned it. In one
    symbol `pair_id` is `instance:SYMBOL`, with the instance beside it, and what is said of a second leg is nothing.
    """

    pair_id: str
    symbol_1: str
    symbol_2: str | None
    beta: float
    action: SignalAction
    quantity_1: Decimal
    quantity_2: Decimal
    instance_id: str | None = None
    buying_power: Decimal = Decimal(0)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the legs."""
        return leg_symbols(self.symbol_1, self.symbol_2)


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

    def reopened_trade(self, pair_id: str) -> PairTrade | None:
        """Return the pair's newest trade that a late fill brought back and that is not over yet."""
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

    def market_seen(self) -> datetime | None:
        """Return the latest market time at which a gate had heard of all orders; None before the first."""
        ...

    def note_market_time(self, now: datetime) -> None:
        """Keep the time of the broker's clock, unless a later one is known."""
        ...

    def trades_in_motion(self) -> list[PairTrade]:
        """List trades that are neither finished nor quietly open, oldest first."""
        ...

    def trades_at_rest(self) -> list[PairTrade]:
        """List trades that rest and might not: open ones, finished ones with shares or fills not booked, by age."""
        ...

    def add_trade(self, trade: PairTrade, epoch: int) -> bool:
        """Insert a trade; False when the pair had one in this slot, or has one open.

        Raises:
            NotTheWriter: another process took over.
        """
        ...

    def require_writer(self, epoch: int) -> None:
        """See that the caller's epoch is still the account's, and hold it for this transaction.

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

    def book(self, intent: OrderIntent, fill: FillReport, epoch: int) -> bool:
        """Book one execution: the fill, its ledger entry and the position; False when it was booked before.

        Raises:
            NotTheWriter: another process took over.
        """
        ...

    def adjusted(self, trade_id: UUID) -> dict[int, Decimal]:
        """Return, by leg, the signed shares that companies' actions added to a trade."""
        ...

    def realized_pnl(self, trade_id: UUID) -> Decimal:
        """Sum the dollars that a trade's executions and its companies' actions moved into cash."""
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

    def note_alert(self, severity: str, title: str, detail: str, about: str, slot: datetime, at: datetime) -> UUID:
        """Record something a person should know; the same title about the same thing once."""
        ...

    def condition_begins(self, scope: str, about: str, at: datetime) -> int | None:
        """Note that something is so; return how often that has begun by now, None where it went on from before."""
        ...

    def conditions_end(self, scope: str, still: Collection[str], at: datetime) -> None:
        """Note that nothing of a scope is so any more but `still`."""
        ...

    def note(self, note: AuditNote) -> None:
        """Add a line to the audit log."""
        ...


class DeskStore(TradeStore, Protocol):
    """What people ask of trades, orders and books, within one transaction."""

    def standing(self) -> Standing:
        """Read the account's risk state; nobody having set one means active."""
        ...

    def pair_ids(self) -> list[str]:
        """List every pair of the registry."""
        ...

    def has_instance(self, name: str) -> bool:
        """Say whether there is, or was, an instance of this name."""
        ...

    def last_trade(self, pair_id: str) -> PairTrade | None:
        """Return the pair's newest trade."""
        ...

    def unfinished_trades(self) -> list[PairTrade]:
        """List the trades that are not over, oldest first."""
        ...

    def holdings_by_trade(self) -> list[Holding]:
        """List what each trade holds, by symbol and pair, without zeros."""
        ...

    def last_closes(self, symbols: Iterable[str]) -> dict[str, Close]:
        """Return the newest stored hourly close of each symbol that has one."""
        ...

    def orders(self, pair_id: str | None, last: int | None) -> list[OrderLine]:
        """List, oldest first, the orders that are not done; with `last` so many of the newest, done or not."""
        ...

    def order_story(self, name: str) -> OrderStory | None:
        """Find an order by client order id, broker order id or intent id, with all that was told of it."""
        ...

    def trades(self, pair_id: str | None, is_open: bool | None, last: int, slot: datetime | None) -> list[TradeLine]:
        """List the newest trades, oldest first: of a pair, unfinished or finished ones, of a slot."""
        ...

    def trade_story(self, trade: PairTrade) -> TradeStory:
        """Tell everything that led to a trade and came of it."""
        ...

    def first_slot(self) -> datetime | None:
        """Return the slot of the oldest order."""
        ...

    def write_off(self, gone: WriteOff, at: datetime, epoch: int) -> None:
        """Book shares out of a trade that nobody can give back.

        Raises:
            NotTheWriter: another process took over.
        """
        ...

    def add_snapshot(self, moment: datetime, positions: Iterable[SymbolPosition]) -> int:
        """Store positions as of a moment and return how many were new; the first word on a moment stays."""
        ...


class ActionStore(TradeStore, Protocol):
    """Announcements of companies, what is booked for them, and frozen pairs, within one transaction."""

    def unread_symbols(self, day: date) -> list[str]:
        """List the symbols that are watched or held and were not looked up on `day` or later."""
        ...

    def note_look(self, symbols: Sequence[str], day: date) -> None:
        """Remember that the announcements about these symbols were read on a day."""
        ...

    def add_actions(self, actions: Sequence[CorporateAction]) -> None:
        """Store announcements; one that is known is corrected as long as nothing is booked for it."""
        ...

    def actions_between(self, first: date, last: date) -> list[CorporateAction]:
        """List the stored actions that take effect from `first` to `last`, in the order of their days."""
        ...

    def held_before(self, symbol: str, moment: datetime) -> dict[UUID, Decimal]:
        """Return the signed shares that each trade held in a symbol before a moment, by the ledger."""
        ...

    def unsettled_trades(self, symbol: str) -> list[PairTrade]:
        """List the trades in a symbol with an order that is not settled or has fills that are not booked."""
        ...

    def book_action(self, booking: Booking, epoch: int) -> bool:
        """Make one entry, move the position and the trade's terms; False when it was booked before.

        Raises:
            NotTheWriter: another process took over.
        """
        ...

    def fractions_due(self) -> list[Fraction]:
        """List the fractions of shares whose cash has not been booked."""
        ...

    def freeze(self, action: CorporateAction, times: Times, basis_kept: bool) -> list[str]:
        """Freeze the pairs that watch or hold the action's symbol; returns the ids of those that were not yet."""
        ...

    def frozen(self, pair_id: str, moment: datetime) -> str | None:
        """Say why a pair takes no entries at a moment, or None."""
        ...

    def open_in_one_symbol(self, symbols: Sequence[str], before: datetime) -> list[PairTrade]:
        """List the open trades of instances in these symbols that were opened before a moment."""
        ...

    def trades_to_close(self, moment: datetime) -> list[PairTrade]:
        """List the open trades whose pair lost its basis to an action that has happened by `moment`."""
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


class TradingBroker(Broker, CorporateActionSource, Protocol):
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
