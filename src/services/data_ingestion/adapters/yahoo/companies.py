"""Reads what Yahoo says of companies. Every figure is read by itself: one that can't be read costs no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from src.services.data_ingestion.adapters.yahoo.answers import Raw
from src.services.data_ingestion.domain.company import (
    Answer,
    CompanyDataset,
    CompanyInfo,
    CompanyRow,
    EarningsDay,
    Holder,
    KeyStatistics,
    Officer,
    Unread,
    says_nothing,
    without_doubles,
)
from src.services.data_ingestion.domain.figures import NotAFigure, day, figure, whole, words

T = TypeVar("T")
NOTHING = "Yahoo has nothing of this kind"

INFORMATION_MODULES = ("assetProfile", "quoteType", "price")
OFFICER_MODULES = ("assetProfile",)
STATISTIC_MODULES = ("defaultKeyStatistics", "summaryDetail", "financialData", "price")
HOLDER_MODULES = ("institutionOwnership",)
EARNINGS_MODULES = ("calendarEvents",)

# Where each figure stands; the first module that has it counts.
_STATISTICS: Mapping[str, tuple[str, ...]] = {
    "market_cap": ("summaryDetail.marketCap", "price.marketCap"),
    "enterprise_value": ("defaultKeyStatistics.enterpriseValue",),
    "trailing_pe": ("summaryDetail.trailingPE", "defaultKeyStatistics.trailingPE"),
    "forward_pe": ("summaryDetail.forwardPE", "defaultKeyStatistics.forwardPE"),
    "peg_ratio": ("defaultKeyStatistics.pegRatio", "defaultKeyStatistics.trailingPegRatio"),
    "price_to_sales": ("summaryDetail.priceToSalesTrailing12Months",),
    "price_to_book": ("defaultKeyStatistics.priceToBook",),
    "enterprise_to_revenue": ("defaultKeyStatistics.enterpriseToRevenue",),
    "enterprise_to_ebitda": ("defaultKeyStatistics.enterpriseToEbitda",),
    "profit_margin": ("financialData.profitMargins", "defaultKeyStatistics.profitMargins"),
    "gross_margin": ("financialData.grossMargins",),
    "operating_margin": ("financialData.operatingMargins",),
    "return_on_assets": ("financialData.returnOnAssets",),
    "return_on_equity": ("financialData.returnOnEquity",),
    "revenue": ("financialData.totalRevenue",),
    "ebitda": ("financialData.ebitda",),
    "net_income": ("defaultKeyStatistics.netIncomeToCommon",),
    "free_cash_flow": ("financialData.freeCashflow",),
    "operating_cash_flow": ("financialData.operatingCashflow",),
    "eps_trailing": ("defaultKeyStatistics.trailingEps",),
    "eps_forward": ("defaultKeyStatistics.forwardEps",),
    "book_value_per_share": ("defaultKeyStatistics.bookValue",),
    "total_cash": ("financialData.totalCash",),
    "total_debt": ("financialData.totalDebt",),
    "debt_to_equity": ("financialData.debtToEquity",),
    "current_ratio": ("financialData.currentRatio",),
    "dividend_rate": ("summaryDetail.dividendRate", "summaryDetail.trailingAnnualDividendRate"),
    "dividend_yield": ("summaryDetail.dividendYield", "defaultKeyStatistics.yield", "summaryDetail.yield"),
    "payout_ratio": ("summaryDetail.payoutRatio",),
    "beta": ("defaultKeyStatistics.beta", "summaryDetail.beta", "defaultKeyStatistics.beta3Year"),
    "high_52_weeks": ("summaryDetail.fiftyTwoWeekHigh",),
    "low_52_weeks": ("summaryDetail.fiftyTwoWeekLow",),
    "average_volume": ("summaryDetail.averageVolume",),
    "shares_outstanding": ("defaultKeyStatistics.sharesOutstanding",),
    "shares_float": ("defaultKeyStatistics.floatShares",),
    "shares_short": ("defaultKeyStatistics.sharesShort",),
    "short_ratio": ("defaultKeyStatistics.shortRatio",),
    "short_fraction_of_float": ("defaultKeyStatistics.shortPercentOfFloat",),
    "held_by_insiders": ("defaultKeyStatistics.heldPercentInsiders",),
    "held_by_institutions": ("defaultKeyStatistics.heldPercentInstitutions",),
}


@dataclass
class Reader:
    """Reads fields of one company's dataset and keeps aside what can't be read."""

    symbol: str
    dataset: CompanyDataset
    unread: list[Unread] = field(default_factory=list)

    def each(self, rows: Any, read: Callable[[Raw], CompanyRow | None]) -> list[CompanyRow]:
        """Read the rows of a list, one by one."""
        if rows is None:
            return []
        if not isinstance(rows, list):
            self.aside("shape", "a list is expected", {"found": repr(rows)[:200]})
            return []
        found = []
        for raw in rows:
            if not isinstance(raw, dict):
                self.aside("shape", "a row is no object", {"found": repr(raw)[:200]})
            elif (row := read(raw)) is not None:
                found.append(row)
        return found

    def value(self, raw: Any, name: str, read: Callable[[Any], T | None]) -> T | None:
        """Read one field; one that can't be read is set aside, and absent."""
        try:
            return read(raw)
        except NotAFigure as error:
            self.aside("figure", f"{name}: {error}", {name: raw})
            return None

    def aside(self, rule: str, reason: str, raw: Mapping[str, Any]) -> None:
        """Keep a row or a field that can't be read."""
        self.unread.append(Unread(self.symbol, self.dataset, rule, reason, _json_safe(raw)))

    def answer(self, rows: Sequence[CompanyRow], all_after: date | None = None) -> Answer:
        """Say what was read and what was not."""
        kept = without_doubles(self.dataset, rows)
        return Answer(kept, tuple(self.unread), "" if kept else NOTHING, all_after)


def information(symbol: str, summary: Raw | None) -> Answer:
    """Read who a company is from the modules `INFORMATION_MODULES`."""
    reader = Reader(symbol, CompanyDataset.INFORMATION)
    if summary is None:
        return reader.answer(())
    profile, kind, price = (_module(summary, name) for name in INFORMATION_MODULES)
    info = CompanyInfo(
        name=_text(kind, "longName") or _text(price, "longName") or _text(kind, "shortName"),
        quote_type=_text(kind, "quoteType") or _text(price, "quoteType"),
        exchange=_text(price, "exchangeName") or _text(kind, "exchange"),
        currency=_text(price, "currency"),
        employees=reader.value(profile.get("fullTimeEmployees"), "fullTimeEmployees", whole),
        summary=_text(profile, "longBusinessSummary"),
        **{
            name: _text(profile, name)
            for name in ("sector", "industry", "country", "state", "city", "phone", "website")
        },
    )
    return reader.answer(() if says_nothing(reader.dataset, info) else (info,))


def officers(symbol: str, summary: Raw | None) -> Answer:
    """Read the people at the top from the module `assetProfile`."""
    reader = Reader(symbol, CompanyDataset.OFFICERS)
    listed = _module(summary or {}, "assetProfile").get("companyOfficers")

    def read(raw: Raw) -> Officer | None:
        name = _text(raw, "name")
        if name is None:
            reader.aside("name", "an officer has no name", raw)
            return None
        return Officer(
            name=name,
            title=_text(raw, "title"),
            age=reader.value(raw.get("age"), "age", whole),
            year_born=reader.value(raw.get("yearBorn"), "yearBorn", whole),
            fiscal_year=reader.value(raw.get("fiscalYear"), "fiscalYear", whole),
            total_pay=reader.value(raw.get("totalPay"), "totalPay", figure),
            exercised_value=reader.value(raw.get("exercisedValue"), "exercisedValue", figure),
            unexercised_value=reader.value(raw.get("unexercisedValue"), "unexercisedValue", figure),
        )

    return reader.answer(reader.each(listed, read))


def statistics(symbol: str, summary: Raw | None, as_of: date) -> Answer:
    """Read the figures of a day from the modules `STATISTIC_MODULES`."""
    reader = Reader(symbol, CompanyDataset.STATISTICS)
    read = {name: _first(reader, summary or {}, places) for name, places in _STATISTICS.items()}
    found = KeyStatistics(as_of, **read)
    return reader.answer(() if says_nothing(reader.dataset, found) else (found,))


def holders(symbol: str, summary: Raw | None) -> Answer:
    """Read the institutions that hold shares from the module `institutionOwnership`."""
    reader = Reader(symbol, CompanyDataset.HOLDERS)
    listed = _module(summary or {}, "institutionOwnership").get("ownershipList")

    def read(raw: Raw) -> Holder | None:
        organization, reported = _text(raw, "organization"), reader.value(raw.get("reportDate"), "reportDate", day)
        if organization is None or reported is None:
            reader.aside("name", "a holder has no name or no date of its report", raw)
            return None
        return Holder(
            organization=organization,
            report_date=reported,
            shares=reader.value(raw.get("position"), "position", figure),
            value=reader.value(raw.get("value"), "value", figure),
            held=reader.value(raw.get("pctHeld"), "pctHeld", figure),
            changed=reader.value(raw.get("pctChange"), "pctChange", figure),
        )

    return reader.answer(reader.each(listed, read))


def earnings(symbol: str, summary: Raw | None, as_of: date) -> Answer:
    """Read the days of earnings from the module `calendarEvents`: the next, and the last from its conference call.

    Yahoo names one day or the first and last that it may be. An answer without a day to come does not take back
    one that was announced: around a report Yahoo sometimes has none for a while.
    """
    reader = Reader(symbol, CompanyDataset.EARNINGS)
    told = _module(_module(summary or {}, "calendarEvents"), "earnings")
    called = [each for each in _days(reader, told, "earningsCallDate") if each <= as_of]
    rows = [EarningsDay(each, each) for each in called]
    if days := _days(reader, told, "earningsDate"):
        is_estimate = told.get("isEarningsDateEstimate") is True or len(set(days)) > 1
        rows.append(EarningsDay(min(days), max(days), is_estimate))
    return reader.answer(rows, as_of if any(row.first_day > as_of for row in rows) else None)


def _days(reader: Reader, told: Raw, name: str) -> list[date]:
    """Read a list of moments as days in UTC, which are New York's: Yahoo writes a day without an hour as midnight."""
    listed = told.get(name)
    if listed is None:
        return []
    if not isinstance(listed, list):
        listed = [listed]
    return [found for raw in listed if (found := reader.value(raw, name, day)) is not None]


def _first(reader: Reader, summary: Raw, places: Sequence[str]) -> float | None:
    for place in places:
        module, _, name = place.partition(".")
        found = reader.value(_module(summary, module).get(name), place, figure)
        if found is not None:
            return found
    return None


def _module(summary: Raw, name: str) -> Raw:
    found = summary.get(name)
    return found if isinstance(found, dict) else {}


def _text(raw: Raw, name: str) -> str | None:
    return words(raw.get(name))


def _json_safe(raw: Mapping[str, Any]) -> dict[str, Any]:
    # JSONB takes neither NaN nor infinity nor NUL: what can't be written as it came is written as text.
    return {
        str(name): value if isinstance(value, int | bool | None) else repr(value)[:500] for name, value in raw.items()
    }
