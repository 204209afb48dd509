"""Cash and positions: what fills add up to, and what an account may still do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from src.services.twin.domain.orders import Order

Price = Callable[[str], Decimal]


@dataclass(slots=True)
class Position:
    """Shares of one symbol, negative when short, and their average entry price."""

    symbol: str
    qty: Decimal
    avg_entry: Decimal

    @property
    def cost_basis(self) -> Decimal:
        """Signed cost of the position."""
        return self.qty * self.avg_entry


@dataclass(slots=True)
class Book:
    """Cash and positions of the account, made of fills and of what happens without a trade."""

    cash: Decimal
    positions: dict[str, Position] = field(default_factory=dict)

    def held(self, symbol: str) -> Decimal:
        """Return the signed quantity held."""
        position = self.positions.get(symbol)
        return position.qty if position else Decimal(0)

    def apply(self, symbol: str, signed_qty: Decimal, price: Decimal) -> None:
        """Book one execution."""
        self.cash -= signed_qty * price
        position = self.positions.get(symbol)
        if position is None:
            self.positions[symbol] = Position(symbol, signed_qty, price)
            return
        after = position.qty + signed_qty
        if position.qty * signed_qty > 0:
            position.avg_entry = (position.cost_basis + signed_qty * price) / after
        position.qty = after
        if not after:
            del self.positions[symbol]

    def adjust(self, symbol: str | None, qty: Decimal, cost: Decimal, cash: Decimal) -> None:
        """Book signed changes of cash, and of a symbol's shares and their cost, that no trade made."""
        self.cash += cash
        if symbol is None or not qty:
            return
        position = self.positions.setdefault(symbol, Position(symbol, Decimal(0), Decimal(0)))
        total = position.cost_basis + cost
        position.qty += qty
        if position.qty:
            position.avg_entry = total / position.qty
        else:
            del self.positions[symbol]


@dataclass(frozen=True, slots=True)
class Valuation:
    """The account at current prices. Short value is negative, as the real API shows it."""

    cash: Decimal
    long_value: Decimal
    short_value: Decimal
    reserved: Decimal
    multiplier: Decimal

    @property
    def equity(self) -> Decimal:
        """Cash plus the signed value of all positions."""
        return self.cash + self.long_value + self.short_value

    @property
    def gross(self) -> Decimal:
        """Value of longs and shorts together."""
        return self.long_value - self.short_value

    @property
    def buying_power(self) -> Decimal:
        """What may still be opened: equity × multiplier, less what is held and what open orders reserve."""
        free = self.equity * self.multiplier - self.gross - self.reserved
        return max(Decimal(0), free)

    @property
    def initial_margin(self) -> Decimal:
        """Gross value over the multiplier."""
        return self.gross / self.multiplier

    @property
    def maintenance_margin(self) -> Decimal:
        """Thirty per cent of the gross value."""
        return self.gross * Decimal("0.3")


def value_book(book: Book, price: Price, open_orders: Iterable[Order], multiplier: Decimal) -> Valuation:
    """Mark every position at `price`, and add up what open opening orders reserve."""
    values = [position.qty * price(position.symbol) for position in book.positions.values()]
    return Valuation(
        cash=book.cash,
        long_value=sum((v for v in values if v > 0), Decimal(0)),
        short_value=sum((v for v in values if v < 0), Decimal(0)),
        reserved=sum((o.leaves * o.reserve_price for o in open_orders if o.opens_position), Decimal(0)),
        multiplier=multiplier,
    )
