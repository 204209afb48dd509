"""Yahoo's words on a company: modules of the quote summary, the quote, the time series of its books."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from src.services.twin.domain.fundamentals import (
    Profile,
    Statement,
    annual_statements,
    company_profile,
    last_year,
    quarterly_statements,
    report_days,
)
from src.services.twin.domain.moments import new_york_day
from src.services.twin.domain.venue import Venue

_QUARTERS_TOLD, _YEARS_TOLD = 5, 4
_PREFIXES = {"quarterly": "3M", "annual": "12M", "trailing": "TTM"}
_YEAR_OF_BARS = 252
# The day of a report is told as a span until it is near; the hour of the call is 16:30 New York in winter.
_FIXED_BEFORE, _EITHER_SIDE = timedelta(days=21), timedelta(days=2)
_AFTER_THE_CLOSE = 77_400

Module = dict[str, Any]


def _profile(venue: Venue, symbol: str) -> Profile:
    return company_profile(venue.seed, symbol)


def _quarters(venue: Venue, symbol: str) -> list[Statement]:
    return quarterly_statements(venue.seed, symbol, new_york_day(venue.now))


def _shares(venue: Venue, symbol: str) -> float:
    shares = float(_profile(venue, symbol).shares)
    for action in venue.actions.values():
        if action.terms.symbol == symbol and action.terms.type.is_split and action.applied_at is not None:
            shares *= float(action.terms.new_rate / action.terms.old_rate)
    return shares


def _price(venue: Venue, symbol: str) -> float:
    return venue.market.price(symbol, venue.now) or 0.0


def _stamp(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _asset_profile(venue: Venue, symbol: str) -> Module:
    who, name = _profile(venue, symbol), venue.market.names.get(symbol, symbol)
    year = new_york_day(venue.now).year - 1
    return {
        "maxAge": 86400,
        "address1": "1 Market Street",
        "city": who.city,
        "state": who.state,
        "zip": "00001",
        "country": "United States",
        "phone": "555 0100",
        "website": f"https://{symbol.lower()}.example.com",
        "sector": who.sector,
        "industry": who.industry,
        "longBusinessSummary": f"{name} is a made-up company of the synthetic market.",
        "fullTimeEmployees": who.employees,
        "companyOfficers": [
            {
                "maxAge": 1,
                "name": officer.name,
                "age": year - officer.year_born,
                "title": officer.title,
                "yearBorn": officer.year_born,
                "fiscalYear": year,
                "totalPay": _figure(officer.total_pay),
                "exercisedValue": _figure(0),
                "unexercisedValue": _figure(0),
            }
            for officer in who.officers
        ],
    }


def _figure(amount: float) -> dict[str, Any]:
    return {"raw": amount, "fmt": f"{amount / 1e6:.2f}M" if amount else None, "longFmt": f"{amount:,.0f}"}


def _quote_type(venue: Venue, symbol: str) -> Module:
    name = venue.market.names.get(symbol, symbol)
    return {"exchange": "NYQ", "quoteType": "EQUITY", "symbol": symbol, "shortName": name, "longName": name}


def _price_module(venue: Venue, symbol: str) -> Module:
    price = _price(venue, symbol)
    return _quote_type(venue, symbol) | {
        "maxAge": 1,
        "exchangeName": "NYSE",
        "currency": "USD",
        "regularMarketPrice": price,
        "marketCap": round(price * _shares(venue, symbol)),
    }


def _statistics(venue: Venue, symbol: str) -> Module:
    price, shares, who = _price(venue, symbol), _shares(venue, symbol), _profile(venue, symbol)
    quarters = _quarters(venue, symbol)
    year, balance = last_year(quarters), quarters[-1].balance
    earned = year.income["NetIncome"] / shares
    worth = price * shares + balance["TotalDebt"] - balance["CashAndCashEquivalents"]
    return {
        "maxAge": 1,
        "priceHint": 2,
        "enterpriseValue": round(worth),
        "forwardPE": round(price / (1.05 * earned), 5) if earned > 0 else None,
        "profitMargins": round(year.income["NetIncome"] / year.income["TotalRevenue"], 5),
        "floatShares": round(0.95 * shares),
        "sharesOutstanding": round(shares),
        "sharesShort": round(0.02 * shares),
        "shortRatio": 2.1,
        "shortPercentOfFloat": 0.021,
        "heldPercentInsiders": 0.05,
        "heldPercentInstitutions": round(sum(holder.held for holder in who.holders), 5),
        "beta": who.beta,
        "bookValue": round(balance["StockholdersEquity"] / shares, 3),
        "priceToBook": round(price * shares / balance["StockholdersEquity"], 5),
        "lastFiscalYearEnd": _stamp(annual_statements(quarters)[-1].end),
        "mostRecentQuarter": _stamp(quarters[-1].end),
        "netIncomeToCommon": year.income["NetIncome"],
        "trailingEps": round(earned, 3),
        "forwardEps": round(1.05 * earned, 3),
        "pegRatio": 1.4,
        "enterpriseToRevenue": round(worth / year.income["TotalRevenue"], 3),
        "enterpriseToEbitda": round(worth / year.income["EBITDA"], 3),
    }


def _detail(venue: Venue, symbol: str) -> Module:
    price, shares = _price(venue, symbol), _shares(venue, symbol)
    series = venue.market.series(symbol, "1Day", adjusted=True)
    rows = series.rows[max(0, series.finished(venue.now) - _YEAR_OF_BARS) : series.finished(venue.now)]
    year = last_year(_quarters(venue, symbol))
    earned, paid = year.income["NetIncome"] / shares, -year.cash_flow["CashDividendsPaid"] / shares
    return {
        "maxAge": 1,
        "priceHint": 2,
        "previousClose": rows[-1]["c"] if rows else None,
        "dividendRate": round(paid, 2),
        "dividendYield": round(paid / price, 4) if price else None,
        "payoutRatio": round(paid / earned, 4) if earned > 0 else None,
        "beta": _profile(venue, symbol).beta,
        "trailingPE": round(price / earned, 5) if earned > 0 else None,
        "averageVolume": round(sum(row["v"] for row in rows) / len(rows)) if rows else None,
        "marketCap": round(price * shares),
        "fiftyTwoWeekLow": min((row["l"] for row in rows), default=None),
        "fiftyTwoWeekHigh": max((row["h"] for row in rows), default=None),
        "priceToSalesTrailing12Months": round(price * shares / year.income["TotalRevenue"], 5),
        "currency": "USD",
    }


def _financial_data(venue: Venue, symbol: str) -> Module:
    quarters = _quarters(venue, symbol)
    year, balance = last_year(quarters), quarters[-1].balance
    income = year.income
    return {
        "maxAge": 86400,
        "currentPrice": _price(venue, symbol),
        "totalCash": balance["CashAndCashEquivalents"],
        "ebitda": income["EBITDA"],
        "totalDebt": balance["TotalDebt"],
        "currentRatio": round(balance["CurrentAssets"] / balance["CurrentLiabilities"], 3),
        "totalRevenue": income["TotalRevenue"],
        "debtToEquity": round(100 * balance["TotalDebt"] / balance["StockholdersEquity"], 3),
        "returnOnAssets": round(income["NetIncome"] / balance["TotalAssets"], 5),
        "returnOnEquity": round(income["NetIncome"] / balance["StockholdersEquity"], 5),
        "freeCashflow": year.cash_flow["FreeCashFlow"],
        "operatingCashflow": year.cash_flow["OperatingCashFlow"],
        "grossMargins": round(income["GrossProfit"] / income["TotalRevenue"], 5),
        "operatingMargins": round(income["OperatingIncome"] / income["TotalRevenue"], 5),
        "financialCurrency": "USD",
    }


def _institutions(venue: Venue, symbol: str) -> Module:
    shares, price = _shares(venue, symbol), _price(venue, symbol)
    reported = _stamp(_quarters(venue, symbol)[-1].end)
    return {
        "maxAge": 1,
        "ownershipList": [
            {
                "maxAge": 1,
                "reportDate": reported,
                "organization": holder.organization,
                "pctHeld": holder.held,
                "position": round(holder.held * shares),
                "value": round(holder.held * shares * price),
                "pctChange": holder.change,
            }
            for holder in _profile(venue, symbol).holders
        ],
    }


def _breakdown(venue: Venue, symbol: str) -> Module:
    held = sum(holder.held for holder in _profile(venue, symbol).holders)
    return {
        "maxAge": 1,
        "insidersPercentHeld": 0.05,
        "institutionsPercentHeld": round(held, 5),
        "institutionsFloatPercentHeld": round(held / 0.95, 5),
        "institutionsCount": len(_profile(venue, symbol).holders),
    }


def _calendar(venue: Venue, symbol: str) -> Module:  # noqa: ARG001  # all publish on the same days
    today = new_york_day(venue.now)
    last, coming = report_days(today)
    is_estimate = coming - today > _FIXED_BEFORE
    days = [coming - _EITHER_SIDE, coming + _EITHER_SIDE] if is_estimate else [coming]
    return {
        "maxAge": 1,
        "earnings": {
            "earningsDate": [_stamp(day) + _AFTER_THE_CLOSE for day in days],
            "earningsCallDate": [_stamp(last) + _AFTER_THE_CLOSE],
            "isEarningsDateEstimate": is_estimate,
        },
    }


MODULES: Mapping[str, Callable[[Venue, str], Module]] = {
    "assetProfile": _asset_profile,
    "quoteType": _quote_type,
    "price": _price_module,
    "defaultKeyStatistics": _statistics,
    "summaryDetail": _detail,
    "financialData": _financial_data,
    "institutionOwnership": _institutions,
    "majorHoldersBreakdown": _breakdown,
    "calendarEvents": _calendar,
}
"""Modules of the quote summary that the twin knows; others are absent, as at Yahoo."""


def quote(venue: Venue, symbol: str) -> Module:
    """Return one row of GET /v7/finance/quote."""
    return _price_module(venue, symbol) | {
        "fullExchangeName": "NYSE",
        "marketState": "REGULAR" if venue.sessions.open_at(venue.now) else "CLOSED",
        "regularMarketTime": venue.now // 1_000_000,
        "sharesOutstanding": round(_shares(venue, symbol)),
    }


def series(venue: Venue, symbol: str, types: list[str]) -> list[Module]:
    """Return one row for each type such as `quarterlyTotalRevenue`; a symbol that is unknown has none."""
    if symbol not in venue.rules:
        return []
    quarters = _quarters(venue, symbol)
    told = {
        "quarterly": quarters[-_QUARTERS_TOLD:],
        "annual": annual_statements(quarters)[-_YEARS_TOLD:],
        "trailing": [last_year(quarters)],
    }
    rows = []
    for name in types:
        prefix = next((each for each in _PREFIXES if name.startswith(each)), None)
        if prefix is not None:
            rows.append(_one_series(symbol, name, prefix, told[prefix]))
    return rows


def _one_series(symbol: str, name: str, prefix: str, statements: list[Statement]) -> Module:
    row: Module = {"meta": {"symbol": [symbol], "type": [name]}}
    points = [(each.end, each.items.get(name.removeprefix(prefix))) for each in statements]
    found = [(end, amount) for end, amount in points if amount is not None]
    if not found:
        return row
    row["timestamp"] = [_stamp(end) for end, _ in found]
    row[name] = [
        {
            "asOfDate": end.isoformat(),
            "periodType": _PREFIXES[prefix],
            "currencyCode": "USD",
            "reportedValue": {"raw": amount, "fmt": f"{amount / 1e6:.2f}M"},
        }
        for end, amount in found
    ]
    return row
