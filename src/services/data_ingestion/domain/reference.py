"""What a vendor says of listings, splits and dividends, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

V = TypeVar("V")

Dataset = Literal["listing", "split", "dividend"]


class Unreadable(Exception):
    """A row of a vendor can't be read; it is set aside with this reason, and the rest goes on."""


@dataclass(frozen=True)
class Listing:
    """A symbol as a vendor lists it; `delisted_on` is known for some that are not active."""

    symbol: str
    name: str
    exchange: str
    active: bool
    delisted_on: date | None = None


@dataclass(frozen=True)
class StockSplit:
    """From `ex_date` on, `old_shares` are `new_shares`: 1 and 3 for three for one."""

    symbol: str
    vendor: str
    ex_date: date
    old_shares: Decimal
    new_shares: Decimal

    @property
    def key(self) -> tuple[object, ...]:
        """What no two rows of a vendor share."""
        return self.symbol, self.vendor, self.ex_date


@dataclass(frozen=True)
class Dividend:
    """Cash a share in `currency`; `kind` is regular, special, long_term_gain or short_term_gain."""

    symbol: str
    vendor: str
    ex_date: date
    kind: str
    amount: Decimal
    currency: str = "USD"
    declared_on: date | None = None
    recorded_on: date | None = None
    paid_on: date | None = None
    times_a_year: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What no two rows of a vendor share."""
        return self.symbol, self.vendor, self.ex_date, self.kind


@dataclass(frozen=True)
class MarketStatus:
    """Whether the market is open by the vendor's clock, and the vendor's word for it."""

    at: datetime
    is_open: bool
    word: str


@dataclass(frozen=True)
class SetAside:
    """A row that was not let in: its symbol as far as it is known, why, and what came."""

    symbol: str
    reason: str
    raw: dict[str, Any]


@dataclass
class Found(Generic[V]):
    """Rows that were read, and those that could not be."""

    rows: list[V] = field(default_factory=list)
    rejected: list[SetAside] = field(default_factory=list)

    def set_aside(self, symbol: str, reason: str, raw: dict[str, Any]) -> None:
        """Keep a row out, with its reason."""
        self.rejected.append(SetAside(symbol, reason, raw))


@dataclass(frozen=True)
class Kept:
    """How many rows of a load were new, had changed, and were there already."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0

    @property
    def written(self) -> int:
        """How many rows were written."""
        return self.new + self.changed


@dataclass(frozen=True)
class DatasetOutcome:
    """How the load of one dataset went; `failure` is None unless it broke off."""

    dataset: Dataset
    kept: Kept = Kept()
    rejected: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class ReferenceResult:
    """How a load of reference data went. `unknown` are the symbols that the vendor does not list."""

    outcomes: tuple[DatasetOutcome, ...]
    unknown: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[DatasetOutcome, ...]:
        """Those that broke off."""
        return tuple(each for each in self.outcomes if each.failure is not None)
