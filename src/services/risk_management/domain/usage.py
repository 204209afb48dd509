"""How much of each limit is used now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from src.services.risk_management.domain.book import Holding, gross_of, net_of
from src.services.risk_management.domain.limits import booked_loss
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.shared.domain.orders import AccountReport

ZERO = Decimal(0)
NEAR = Decimal("0.9")


@dataclass(frozen=True)
class Portfolio:
    """What is held and what was done, in dollars at the last closes; `unpriced` are held symbols without a close."""

    now: datetime
    account: AccountReport
    equity: EquityHistory
    standing: Standing
    holdings: tuple[Holding, ...]
    unpriced: tuple[str, ...]
    orders_last_minute: int
    orders_today: int
    booked: Decimal

    @property
    def gross(self) -> Decimal:
        """Sum the absolute dollars of all legs."""
        return gross_of(self.holdings)

    @property
    def net(self) -> Decimal:
        """Sum the signed dollars of all legs."""
        return net_of(self.holdings)

    def by_symbol(self) -> dict[str, Decimal]:
        """Return the gross dollars in each symbol, the largest first."""
        found: dict[str, Decimal] = defaultdict(Decimal)
        for holding in self.holdings:
            for symbol, dollars in holding.legs:
                found[symbol] += abs(dollars)
        return _largest_first(found)

    def by_pair(self) -> dict[str, Decimal]:
        """Return the gross dollars of each pair, the largest first."""
        found: dict[str, Decimal] = defaultdict(Decimal)
        for holding in self.holdings:
            found[holding.pair_id] += gross_of([holding])
        return _largest_first(found)


@dataclass(frozen=True)
class Usage:
    """One limit's standing. `used` has the unit of the limit; a loss is breached when it is reached."""

    name: str
    used: Decimal
    limit: Decimal
    is_loss: bool
    subject: str = ""

    @property
    def is_breached(self) -> bool:
        """Say whether the limit is exceeded."""
        return self.used >= self.limit if self.is_loss else self.used > self.limit

    @property
    def is_near(self) -> bool:
        """Say whether nine tenths of the limit are used."""
        return self.used >= NEAR * self.limit

    @property
    def standing(self) -> str:
        """Say it in one word."""
        if self.is_breached:
            return "breached"
        return "near" if self.is_near else "ok"


_Measure = Callable[[Portfolio], tuple[Decimal, str]]


def usages(portfolio: Portfolio, values: Mapping[str, Decimal]) -> list[Usage]:
    """Measure every limit that a portfolio uses up, in the order in which limits are shown."""
    found = []
    for name, limit in values.items():
        if name in _MEASURES:
            used, subject = _MEASURES[name](portfolio)
            found.append(Usage(name, used, limit, name in _LOSSES, subject))
    return found


def exposures(portfolio: Portfolio) -> Sequence[tuple[str, str, Decimal]]:
    """List (scope, of what, gross dollars) of the account, each pair and each symbol; net is the account's own."""
    return [
        ("account", "gross", portfolio.gross),
        ("account", "net", portfolio.net),
        *(("pair", pair, dollars) for pair, dollars in portfolio.by_pair().items()),
        *(("symbol", symbol, dollars) for symbol, dollars in portfolio.by_symbol().items()),
    ]


def _of_equity(dollars: Decimal, portfolio: Portfolio) -> Decimal:
    # Without equity nothing may be held: any dollar is all there is, and more.
    if portfolio.equity.now > 0:
        return dollars / portfolio.equity.now
    return ZERO if dollars == 0 else Decimal("Infinity")


def _fullest(found: Mapping[str, Decimal], portfolio: Portfolio) -> tuple[Decimal, str]:
    name, dollars = next(iter(found.items()), ("", ZERO))
    return _of_equity(dollars, portfolio), name


def _largest_first(found: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


_LOSSES = frozenset({"max_daily_loss_fraction", "max_rolling_loss_fraction", "max_drawdown_fraction"})
_MEASURES: Mapping[str, _Measure] = {
    "max_open_pairs": lambda p: (Decimal(len(p.holdings)), ""),
    "max_gross_fraction": lambda p: (_of_equity(p.gross, p), ""),
    "max_net_fraction": lambda p: (_of_equity(abs(p.net), p), ""),
    "max_symbol_fraction": lambda p: _fullest(p.by_symbol(), p),
    "max_pair_fraction": lambda p: _fullest(p.by_pair(), p),
    "max_orders_per_minute": lambda p: (Decimal(p.orders_last_minute), ""),
    "max_orders_per_day": lambda p: (Decimal(p.orders_today), ""),
    "max_daily_loss_fraction": lambda p: (max(p.equity.daily_loss, ZERO), ""),
    "max_rolling_loss_fraction": lambda p: (booked_loss(p.booked, p.account.equity), ""),
    "max_drawdown_fraction": lambda p: (max(p.equity.drawdown, ZERO), ""),
}

MEASURED = frozenset(_MEASURES)
"""The limits that fill up; the others are switches and rules."""
