"""What an entry is judged against: the account, what it holds, and what this cycle has approved so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from src.services.risk_management.domain.correlations import Correlations
from src.services.risk_management.domain.events import EarningsCalendar, MarketEvent
from src.services.risk_management.domain.sizing import Size
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.shared.domain.instances import InstanceMode
from src.shared.domain.orders import AccountReport, AssetReport
from src.shared.domain.pairs import PairMode, leg_symbols
from src.shared.domain.signals import SignalAction

PRICE_COLLAR = Decimal("1.03")
"""Alpaca reserves for a short the larger of limit and ask × 1.03, and collars market buys about 3 % above."""


@dataclass(frozen=True)
class Holding:
    """One trade that is open, or approved and not begun. Notionals are signed dollars at the last closes.

    In one symbol `pair_id` is `instance:SYMBOL` and there is no second leg.
    """

    pair_id: str
    symbol_1: str
    symbol_2: str | None
    notional_1: Decimal
    notional_2: Decimal
    is_orphaned: bool = False

    @property
    def legs(self) -> tuple[tuple[str, Decimal], ...]:
        """Return the legs as (symbol, signed dollars)."""
        notionals = self.notional_1, self.notional_2
        return tuple(zip(leg_symbols(self.symbol_1, self.symbol_2), notionals, strict=False))


def legs_of(holdings: Iterable[Holding]) -> Iterator[tuple[str, Decimal]]:
    """Yield every leg as (symbol, signed dollars)."""
    for holding in holdings:
        yield from holding.legs


def gross_of(holdings: Iterable[Holding]) -> Decimal:
    """Sum the absolute dollars of all legs; opposite legs of different pairs do not cancel."""
    return sum((abs(dollars) for _, dollars in legs_of(holdings)), Decimal(0))


def net_of(holdings: Iterable[Holding]) -> Decimal:
    """Sum the signed dollars of all legs."""
    return sum((dollars for _, dollars in legs_of(holdings)), Decimal(0))


@dataclass(frozen=True)
class Entry:
    """One entry signal with its size. `has_reading` says whether the signal's spread, or price, is stored."""

    signal_id: UUID
    pair_id: str
    symbol_1: str
    symbol_2: str | None
    action: SignalAction
    mode: PairMode | InstanceMode
    z: float
    has_reading: bool
    size: Size

    @property
    def holding(self) -> Holding:
        """What will be held if it is approved and filled."""
        return Holding(self.pair_id, self.symbol_1, self.symbol_2, self.size.notional_1, self.size.notional_2)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the legs: an order each."""
        return tuple(symbol for symbol, _ in self.holding.legs)

    @property
    def short_symbol(self) -> str | None:
        """The leg that is sold short; None where the only one is bought."""
        return self.symbol_1 if self.action.direction.sign < 0 else self.symbol_2

    @property
    def buying_power_needed(self) -> Decimal:
        """Dollars that the broker will reserve for all legs."""
        return PRICE_COLLAR * (abs(self.size.notional_1) + abs(self.size.notional_2))


@dataclass(frozen=True)
class Book:
    """Everything the limits look at besides the entry.

    `planned_orders` are approved but not sent yet; `booked` is the result in dollars of the trades finished within
    the days of the rolling loss; `events` are those known of the legs.
    """

    slot: datetime
    now: datetime
    market_open: bool
    market_close: datetime | None
    reconciled: bool
    standing: Standing
    account: AccountReport
    assets: Mapping[str, AssetReport]
    holdings: tuple[Holding, ...]
    unpriced: tuple[str, ...]
    fresh: frozenset[str]
    equity: EquityHistory
    booked: Decimal
    events: tuple[MarketEvent, ...]
    earnings: EarningsCalendar
    orders_last_minute: int
    orders_today: int
    planned_orders: int
    reserved: Decimal
    correlations: Correlations

    def with_approved(self, entry: Entry) -> Book:
        """Return the book as the next entry of the same cycle must see it."""
        return replace(
            self,
            holdings=(*self.holdings, entry.holding),
            planned_orders=self.planned_orders + len(entry.symbols),
            reserved=self.reserved + entry.buying_power_needed,
        )

    def legs(self) -> Iterator[tuple[str, Decimal]]:
        """Yield every leg as (symbol, signed dollars)."""
        return legs_of(self.holdings)

    def gross(self) -> Decimal:
        """Sum the absolute dollars of all legs."""
        return gross_of(self.holdings)

    def net(self) -> Decimal:
        """Sum the signed dollars of all legs."""
        return net_of(self.holdings)

    def gross_in(self, symbol: str) -> Decimal:
        """Sum the absolute dollars of all legs in a symbol."""
        return sum((abs(dollars) for name, dollars in self.legs() if name == symbol), Decimal(0))

    def gross_of_pair(self, pair: str) -> Decimal:
        """Sum the absolute dollars of a pair's legs."""
        return gross_of(holding for holding in self.holdings if holding.pair_id == pair)
