"""What is known of companies besides their prices: values as they are stored, and when each is due again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from src.shared.domain.ids import derived_id

Period = Literal["quarterly", "annual"]
StatementName = Literal["income", "balance_sheet", "cash_flow"]
Outcome = Literal["stored", "unchanged", "empty", "failed", "not due"]


class CompanyDataset(StrEnum):
    """Kinds of company data. Each is asked for, stored and due by itself."""

    INFORMATION = "information"
    OFFICERS = "officers"
    STATISTICS = "statistics"
    STATEMENTS = "statements"
    HOLDERS = "holders"
    DIVIDENDS = "dividends"
    SPLITS = "splits"
    EARNINGS = "earnings"


@dataclass(frozen=True)
class CompanyInfo:
    """Who a company is. `employees` are full-time."""

    name: str | None
    quote_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    sector: str | None = None
    industry: str | None = None
    country: str | None = None
    state: str | None = None
    city: str | None = None
    phone: str | None = None
    website: str | None = None
    employees: int | None = None
    summary: str | None = None


@dataclass(frozen=True)
class Officer:
    """A person at the top; pay and options are in the company's currency, a year."""

    name: str
    title: str | None = None
    age: int | None = None
    year_born: int | None = None
    fiscal_year: int | None = None
    total_pay: float | None = None
    exercised_value: float | None = None
    unexercised_value: float | None = None


@dataclass(frozen=True)
class KeyStatistics:
    """Figures of a day. Fractions are fractions: 0.123 is 12.3 %; money is in the quote's currency."""

    as_of: date
    market_cap: float | None = None
    enterprise_value: float | None = None
    trailing_pe: float | None = None
    forward_pe: float | None = None
    peg_ratio: float | None = None
    price_to_sales: float | None = None
    price_to_book: float | None = None
    enterprise_to_revenue: float | None = None
    enterprise_to_ebitda: float | None = None
    profit_margin: float | None = None
    gross_margin: float | None = None
    operating_margin: float | None = None
    return_on_assets: float | None = None
    return_on_equity: float | None = None
    revenue: float | None = None
    ebitda: float | None = None
    net_income: float | None = None
    free_cash_flow: float | None = None
    operating_cash_flow: float | None = None
    eps_trailing: float | None = None
    eps_forward: float | None = None
    book_value_per_share: float | None = None
    total_cash: float | None = None
    total_debt: float | None = None
    debt_to_equity: float | None = None
    current_ratio: float | None = None
    dividend_rate: float | None = None
    dividend_yield: float | None = None
    payout_ratio: float | None = None
    beta: float | None = None
    high_52_weeks: float | None = None
    low_52_weeks: float | None = None
    average_volume: float | None = None
    shares_outstanding: float | None = None
    shares_float: float | None = None
    shares_short: float | None = None
    short_ratio: float | None = None
    short_fraction_of_float: float | None = None
    held_by_insiders: float | None = None
    held_by_institutions: float | None = None


@dataclass(frozen=True)
class StatementItem:
    """One figure of a company's books. `item` is the vendor's name for it, such as TotalRevenue."""

    statement: StatementName
    period: Period
    period_end: date
    item: str
    value: float
    currency: str | None = None


@dataclass(frozen=True)
class Holder:
    """An institution that holds shares, as it reported; `held` and `changed` are fractions."""

    organization: str
    report_date: date
    shares: float | None = None
    value: float | None = None
    held: float | None = None
    changed: float | None = None


@dataclass(frozen=True)
class DividendPaid:
    """Cash a share on an ex-day, on today's basis of shares: a later split restates it."""

    ex_date: date
    amount: Decimal
    currency: str = "USD"
    kind: str = "regular"


@dataclass(frozen=True)
class SplitDone:
    """From the ex-day on, `old_shares` are `new_shares`."""

    ex_date: date
    old_shares: Decimal
    new_shares: Decimal


@dataclass(frozen=True)
class EarningsDay:
    """When a company tells what it earned: a day, or the first and the last that it may be."""

    first_day: date
    last_day: date
    is_estimate: bool = False


@dataclass(frozen=True)
class EarningsTold:
    """A day of earnings as a vendor told it; `withdrawn_at` is when it said otherwise, None while it stands."""

    symbol: str
    vendor: str
    day: EarningsDay
    told_at: datetime
    withdrawn_at: datetime | None


CompanyRow = CompanyInfo | Officer | KeyStatistics | StatementItem | Holder | DividendPaid | SplitDone | EarningsDay


@dataclass(frozen=True)
class Unread:
    """A row that could not be read: its dataset, the rule it broke, why, and the row as it came."""

    symbol: str
    dataset: CompanyDataset
    rule: str
    reason: str
    raw: Mapping[str, Any]

    def identity(self, vendor: str) -> UUID:
        """Name it; the same row, unreadable again, has the same name."""
        return derived_id("quarantine", vendor, self.dataset, self.symbol, self.rule, self.reason, repr(self.raw))


@dataclass(frozen=True)
class Answer:
    """What a vendor said of one company, one dataset: rows, rows that could not be read, and why it is empty.

    `all_after`, where it is known, says that it is all there is of days after that one: what was announced of them
    before and is not said any more was moved or called off.
    """

    rows: tuple[CompanyRow, ...] = ()
    unread: tuple[Unread, ...] = ()
    empty_because: str = ""
    all_after: date | None = None


@dataclass(frozen=True)
class Stored:
    """What storing an answer changed: rows that are new, that differ now, that are no longer said."""

    new: int = 0
    restated: int = 0
    withdrawn: int = 0
    unchanged: int = 0

    @property
    def changed(self) -> int:
        """Rows that were written."""
        return self.new + self.restated + self.withdrawn


@dataclass(frozen=True)
class CompanyOutcome:
    """How loading one dataset of one company went; `reason` says why there is nothing, or what failed."""

    symbol: str
    dataset: CompanyDataset
    outcome: Outcome
    stored: Stored = Stored()
    unread: int = 0
    reason: str = ""


@dataclass(frozen=True)
class CompanyLoad:
    """How a load of company data went, symbol by symbol."""

    outcomes: tuple[CompanyOutcome, ...]

    @property
    def failed(self) -> tuple[CompanyOutcome, ...]:
        """What did not come."""
        return tuple(each for each in self.outcomes if each.outcome == "failed")

    @property
    def asked(self) -> tuple[CompanyOutcome, ...]:
        """What was due, and so was asked for."""
        return tuple(each for each in self.outcomes if each.outcome != "not due")

    @property
    def rows_changed(self) -> int:
        """Rows written in all."""
        return sum(each.stored.changed for each in self.outcomes)


KEY_OF: Mapping[CompanyDataset, tuple[str, ...]] = {
    CompanyDataset.INFORMATION: (),
    CompanyDataset.OFFICERS: ("name",),
    CompanyDataset.STATISTICS: ("as_of",),
    CompanyDataset.STATEMENTS: ("statement", "period", "period_end", "item"),
    CompanyDataset.HOLDERS: ("organization", "report_date"),
    CompanyDataset.DIVIDENDS: ("ex_date", "kind"),
    CompanyDataset.SPLITS: ("ex_date",),
    CompanyDataset.EARNINGS: ("first_day",),
}
"""What tells the rows of one company apart, by dataset."""

WHOLE = frozenset({CompanyDataset.INFORMATION, CompanyDataset.OFFICERS})
"""Datasets whose every answer is all there is: what it does not hold any more is taken away."""


def key_of(dataset: CompanyDataset, row: Any) -> tuple[Any, ...]:
    """Return what tells a row apart from the others of its company."""
    return tuple(getattr(row, name) for name in KEY_OF[dataset])


def is_taken_back(dataset: CompanyDataset, key: tuple[Any, ...], answer: Answer) -> bool:
    """Say whether a stored row is gone that the answer does not hold; what could not be read in part says nothing."""
    if answer.unread:
        return False
    if dataset in WHOLE:
        return True
    return dataset is CompanyDataset.EARNINGS and answer.all_after is not None and key[0] > answer.all_after


def without_doubles(dataset: CompanyDataset, rows: Sequence[CompanyRow]) -> tuple[CompanyRow, ...]:
    """Keep the last of the rows that have one key."""
    return tuple({key_of(dataset, row): row for row in rows}.values())


def is_due(loaded_at: datetime | None, now: datetime, days: float) -> bool:
    """Say whether a dataset that was loaded then is to be asked for again."""
    return loaded_at is None or now - loaded_at >= timedelta(days=days)


def says_nothing(dataset: CompanyDataset, row: CompanyRow) -> bool:
    """Whether nothing is known but what the row is about."""
    return all(getattr(row, each.name) is None for each in fields(row) if each.name not in KEY_OF[dataset])
