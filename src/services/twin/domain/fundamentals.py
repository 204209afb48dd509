"""Made-up companies: who they are, and books that add up. The same seed and symbol give the same company for ever.

Every amount is a whole number of dollars, so that sums are exact: four quarters are a year, assets are liabilities
and equity, and cash at the end is cash at the beginning and what flowed in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

FIRST_YEAR = 2018
REPORTED_AFTER = timedelta(days=36)
"""A quarter is published this long after its end."""

_SEASONS = (0.93, 0.98, 1.01, 1.08)
_SECTORS = (
    ("Technology", "Semiconductors"),
    ("Industrials", "Railroads"),
    ("Utilities", "Utilities - Regulated Electric"),
    ("Consumer Defensive", "Packaged Foods"),
    ("Financial Services", "Credit Services"),
    ("Basic Materials", "Other Industrial Metals & Mining"),
)
_CITIES = (("Harbor Point", "MA"), ("Mill Creek", "OH"), ("Cedar Falls", "OR"), ("Lakewood", "CO"))
_FIRST_NAMES = ("Ada", "Bruno", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas")
_LAST_NAMES = ("Abara", "Brandt", "Castell", "Dorning", "Ekholm", "Ferrante", "Gruber", "Halloran", "Ivers", "Jansen")
_TITLES = ("Chief Executive Officer", "Chief Financial Officer", "Chief Operating Officer", "General Counsel")
_HOLDERS = (
    ("Northgate Index Trust", 0.081),
    ("Bluestone Advisors LLC", 0.064),
    ("Meridian Capital Group", 0.041),
    ("Harrow & Finch Partners", 0.022),
    ("Sable Ridge Management", 0.013),
)

Amounts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Officer:
    """A person at the top: pay in dollars a year."""

    name: str
    title: str
    year_born: int
    total_pay: int


@dataclass(frozen=True, slots=True)
class Holder:
    """An institution and the part of the company that it holds."""

    organization: str
    held: float
    change: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What a company is, apart from its books."""

    sector: str
    industry: str
    city: str
    state: str
    employees: int
    shares: int
    beta: float
    officers: tuple[Officer, ...]
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """The books of one period: its last day, and amounts by item as Yahoo names them."""

    end: date
    income: Amounts
    balance: Amounts
    cash_flow: Amounts

    @property
    def items(self) -> Amounts:
        """Every amount of the period."""
        return self.income | self.balance | self.cash_flow


def company_profile(seed: int, symbol: str) -> Profile:
    """Say who a company is."""
    chance = _Chances(seed, symbol)
    sector, industry = chance.one_of(_SECTORS, "sector")
    city, state = chance.one_of(_CITIES, "city")
    return Profile(
        sector=sector,
        industry=industry,
        city=city,
        state=state,
        employees=800 + int(60_000 * chance("employees")),
        shares=(40 + int(400 * chance("shares"))) * 1_000_000,
        beta=round(0.6 + chance("beta"), 3),
        officers=tuple(_officer(chance, rank, title) for rank, title in enumerate(_TITLES)),
        holders=tuple(Holder(name, held, round(0.2 * chance(name) - 0.1, 4)) for name, held in _HOLDERS),
    )


def quarterly_statements(seed: int, symbol: str, today: date) -> list[Statement]:
    """Return the books of every quarter that is published by a day, oldest first."""
    books = _Books(_Chances(seed, symbol), company_profile(seed, symbol).shares)
    return [books.close(end) for end in _quarter_ends(today)]


def report_days(today: date) -> tuple[date, date]:
    """Return the days on which the last quarter was published and on which the next one will be."""
    ends = _quarter_ends(today + timedelta(days=100))
    days = [end + REPORTED_AFTER for end in ends]
    told = sum(day <= today for day in days)
    return days[told - 1], days[told]


def annual_statements(quarters: Sequence[Statement]) -> list[Statement]:
    """Add up the calendar years that are whole among quarters, oldest first."""
    years: dict[int, list[Statement]] = {}
    for quarter in quarters:
        years.setdefault(quarter.end.year, []).append(quarter)
    return [_year(parts) for parts in years.values() if len(parts) == len(_SEASONS)]


def last_year(quarters: Sequence[Statement]) -> Statement:
    """Add up the last four quarters, as statistics of the trailing year do."""
    return _year(quarters[-len(_SEASONS) :])


class _Chances:
    """Numbers in [0, 1) by name, the same for ever."""

    def __init__(self, seed: int, symbol: str) -> None:
        self._source = f"{seed}:{symbol}"

    def __call__(self, name: str) -> float:
        digest = hashlib.sha256(f"{self._source}:{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2.0**48

    def one_of(self, choices: Sequence[tuple[str, str]], name: str) -> tuple[str, str]:
        return choices[int(self(name) * len(choices))]


class _Books:
    """A company's balance sheet, carried from quarter to quarter."""

    def __init__(self, chance: _Chances, shares: int) -> None:
        self._chance = chance
        self._shares = shares
        self._revenue = int((200 + 4000 * chance("revenue")) * 1e6)
        self._growth = 1 + 0.03 * chance("growth")
        self._margin = 0.35 + 0.3 * chance("margin")
        self._receivables = self._revenue // 3
        self._inventory = self._revenue // 5
        self._payables = self._revenue // 4
        self._plant = 3 * self._revenue
        self._goodwill = self._revenue // 2
        self._debt = self._revenue + self._revenue // 2
        self._capital = self._revenue
        self._cash = self._revenue
        self._retained = self._assets() - self._payables - self._debt - self._capital

    def _assets(self) -> int:
        return self._cash + self._receivables + self._inventory + self._plant + self._goodwill

    def close(self, end: date) -> Statement:
        """Let a quarter pass."""
        income = self._income(end)
        cash_flow = self._cash_flow(income)
        return Statement(end, income, self._balance(), cash_flow)

    def _income(self, end: date) -> Amounts:
        age = (end.year - FIRST_YEAR) * 4 + end.month // 3 - 1
        luck = 0.97 + 0.06 * self._chance(f"luck {end}")
        revenue = int(self._revenue * self._growth**age * _SEASONS[age % 4] * luck)
        cost = int(revenue * (1 - self._margin))
        research, selling = revenue // 12, revenue // 9
        operating = revenue - cost - research - selling
        depreciation, interest = self._plant // 60, self._debt // 80
        pretax = operating - interest
        tax = int(0.21 * max(0, pretax))
        net = pretax - tax
        per_share = round(net / self._shares, 4)
        return {
            "TotalRevenue": revenue,
            "CostOfRevenue": cost,
            "GrossProfit": revenue - cost,
            "ResearchAndDevelopment": research,
            "SellingGeneralAndAdministration": selling,
            "OperatingExpense": research + selling,
            "OperatingIncome": operating,
            "EBIT": operating,
            "EBITDA": operating + depreciation,
            "ReconciledDepreciation": depreciation,
            "InterestExpense": interest,
            "PretaxIncome": pretax,
            "TaxProvision": tax,
            "NetIncome": net,
            "BasicAverageShares": self._shares,
            "DilutedAverageShares": self._shares,
            "BasicEPS": per_share,
            "DilutedEPS": per_share,
        }

    def _cash_flow(self, income: Amounts) -> Amounts:
        net, depreciation = int(income["NetIncome"]), int(income["ReconciledDepreciation"])
        spent = depreciation + depreciation // 5
        dividends = max(0, net) // 4
        before = self._cash
        self._cash += net + depreciation - spent - dividends
        self._plant += spent - depreciation
        self._retained += net - dividends
        return {
            "NetIncomeFromContinuingOperations": net,
            "DepreciationAndAmortization": depreciation,
            "OperatingCashFlow": net + depreciation,
            "CapitalExpenditure": -spent,
            "InvestingCashFlow": -spent,
            "CashDividendsPaid": -dividends,
            "FinancingCashFlow": -dividends,
            "ChangesInCash": self._cash - before,
            "BeginningCashPosition": before,
            "EndCashPosition": self._cash,
            "FreeCashFlow": net + depreciation - spent,
        }

    def _balance(self) -> Amounts:
        current = self._cash + self._receivables + self._inventory
        equity = self._capital + self._retained
        return {
            "CashAndCashEquivalents": self._cash,
            "AccountsReceivable": self._receivables,
            "Inventory": self._inventory,
            "CurrentAssets": current,
            "NetPPE": self._plant,
            "Goodwill": self._goodwill,
            "TotalNonCurrentAssets": self._plant + self._goodwill,
            "TotalAssets": self._assets(),
            "AccountsPayable": self._payables,
            "CurrentLiabilities": self._payables,
            "LongTermDebt": self._debt,
            "TotalDebt": self._debt,
            "TotalLiabilitiesNetMinorityInterest": self._payables + self._debt,
            "CommonStock": self._capital,
            "RetainedEarnings": self._retained,
            "StockholdersEquity": equity,
            "WorkingCapital": current - self._payables,
            "OrdinarySharesNumber": self._shares,
        }


def _year(parts: Sequence[Statement]) -> Statement:
    income = {item: _total(parts, item) for item in parts[0].income}
    shares = {"BasicAverageShares", "DilutedAverageShares"}
    income |= {item: parts[-1].income[item] for item in shares}
    per_share = round(income["NetIncome"] / income["BasicAverageShares"], 4)
    income |= {"BasicEPS": per_share, "DilutedEPS": per_share}
    cash_flow = {item: sum(part.cash_flow[item] for part in parts) for item in parts[0].cash_flow}
    cash_flow["BeginningCashPosition"] = parts[0].cash_flow["BeginningCashPosition"]
    cash_flow["EndCashPosition"] = parts[-1].cash_flow["EndCashPosition"]
    return Statement(parts[-1].end, income, parts[-1].balance, cash_flow)


def _total(parts: Sequence[Statement], item: str) -> float:
    return sum(part.income[item] for part in parts)


def _quarter_ends(today: date) -> list[date]:
    ends = (
        date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        for year in range(FIRST_YEAR, today.year + 1)
        for month in (3, 6, 9, 12)
    )
    return [end for end in ends if end + REPORTED_AFTER <= today]


def _officer(chance: _Chances, rank: int, title: str) -> Officer:
    # Three steps on each time: no two at one table have the same first name.
    first = _FIRST_NAMES[(int(10 * chance("first")) + 3 * rank) % 10]
    last = _LAST_NAMES[int(10 * chance(f"last {rank}"))]
    pay = (9_000 >> rank) * 1000 + int(1000 * chance(f"pay {rank}"))
    return Officer(f"{first} {last}", title, 1955 + int(25 * chance(f"born {rank}")), pay)
