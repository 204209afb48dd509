"""Answers recorded from Yahoo are read without loss: one test for each that we would ask for.

Not asked for, and so not read: `quote-*` (the quote is part of the summary), the module `earnings` (its
days are those of `calendarEvents`), the screener and the trending symbols.
"""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from src.services.data_ingestion.adapters.yahoo import companies
from src.services.data_ingestion.adapters.yahoo.answers import YahooSaid, content_of, explained
from src.services.data_ingestion.adapters.yahoo.charts import dividends_of, read_chart, splits_of
from src.services.data_ingestion.domain.company import CompanyInfo, EarningsDay, KeyStatistics
from src.shared.domain.errors import Transient
from tests.shared_data import shared_file

FOLDER = "data/api_fixtures/yahoo"
TODAY = date(2025, 2, 20)
UNREADABLE = ("chart-notimestamp-quotes-length.fake", "chart-notimestamp-weird-quote.fake")
EMPTY = (
    "chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m",
    "chart-TSLA-2025-01-01-to-2025-01-02-interval-1h.fake",
)
CHARTS = (
    "chart-0P000071W8.TO-2020-01-01-to-2020-01-03",
    "chart-AAPL",
    "chart-AAPL-2020-01-01-to-2020-01-03",
    "chart-AAPL-2020-08-31-to-2020-11-07",
    "chart-AFRAF-2020-01-01-to-2020-01-03",
    "chart-AMZN-2020-01-01-to-2020-01-03",
    "chart-BTC-USD-2020-01-01-to-2020-01-03",
    "chart-CRON-2020-01-01-to-2020-01-03",
    "chart-EPAC-2020-01-01-to-2020-01-03",
    "chart-EURUSD=X-2020-01-01-to-2020-01-03",
    "chart-GC=F-2020-01-01-to-2020-01-03",
    "chart-GOOG-2020-01-01-to-2020-01-03",
    "chart-QQQ-2020-01-01-to-2020-01-03",
    "chart-WSKT.JK-2020-01-01-to-2020-01-03",
    "chart-WSU.DE-2023-08-04-to-2023-08-09",
    "historical-via-chart-0P000071W8.TO-2020-01-01-to-2020-01-03",
    "historical-via-chart-0P0000XTS7-2024-09-12-to-2024-09-16",
    "historical-via-chart-AAPL-2020-01-01-to-2020-01-03",
    "historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv",
    "historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv",
    "historical-via-chart-QQQ-2020-01-01-to-2020-01-03",
)
SUMMARIES = tuple(
    f"quoteSummary-{module}-{symbol}"
    for module in ("defaultKeyStatistics", "price", "summaryDetail")
    for symbol in ("AAPL", "ADH", "AMZN", "GOOG", "QQQ")
)
EARNINGS = {
    "AAPL": (date(2025, 4, 30), date(2025, 5, 5), date(2025, 1, 30)),
    "ADH": None,
    "AMZN": (date(2025, 4, 28), date(2025, 5, 2), date(2025, 2, 6)),
    "GOOG": (date(2025, 4, 23), date(2025, 4, 28), date(2025, 2, 4)),
    "QQQ": None,
}
# What Yahoo tells in these modules and has a column of its own here.
TOLD = {
    "defaultKeyStatistics": {
        "enterpriseValue": "enterprise_value",
        "forwardPE": "forward_pe",
        "profitMargins": "profit_margin",
        "floatShares": "shares_float",
        "sharesOutstanding": "shares_outstanding",
        "sharesShort": "shares_short",
        "heldPercentInsiders": "held_by_insiders",
        "heldPercentInstitutions": "held_by_institutions",
        "shortRatio": "short_ratio",
        "shortPercentOfFloat": "short_fraction_of_float",
        "beta": "beta",
        "beta3Year": "beta",
        "bookValue": "book_value_per_share",
        "priceToBook": "price_to_book",
        "netIncomeToCommon": "net_income",
        "trailingEps": "eps_trailing",
        "forwardEps": "eps_forward",
        "enterpriseToRevenue": "enterprise_to_revenue",
        "enterpriseToEbitda": "enterprise_to_ebitda",
        "yield": "dividend_yield",
    },
    "summaryDetail": {
        "dividendRate": "dividend_rate",
        "dividendYield": "dividend_yield",
        "yield": "dividend_yield",
        "payoutRatio": "payout_ratio",
        "beta": "beta",
        "trailingPE": "trailing_pe",
        "forwardPE": "forward_pe",
        "averageVolume": "average_volume",
        "marketCap": "market_cap",
        "fiftyTwoWeekLow": "low_52_weeks",
        "fiftyTwoWeekHigh": "high_52_weeks",
        "priceToSalesTrailing12Months": "price_to_sales",
    },
    "price": {"marketCap": "market_cap"},
}


def recorded(name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(shared_file(f"{FOLDER}/{name}.json").read_text())["response"]
    return answer


def chart(name: str) -> dict[str, Any]:
    (result,) = content_of(json.dumps(recorded(name)["bodyJson"]), "chart")
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("name", CHARTS)
def test_a_recorded_chart_is_read_whole(name: str) -> None:
    raw = chart(name)

    read = read_chart(raw)

    assert read.seconds.tolist() == raw["timestamp"]
    for column, values in raw["indicators"]["quote"][0].items():
        assert same(read.columns[column].tolist(), values)
    assert same(read.adjusted.tolist(), raw["indicators"]["adjclose"][0]["adjclose"])
    assert read.currency == raw["meta"]["currency"]
    events = raw.get("events", {})
    paid, split = dividends_of("AAPL", raw), splits_of("AAPL", raw)
    assert len(paid.rows) == len(events.get("dividends", {}))
    assert len(split.rows) == len(events.get("splits", {})) == len(read.splits)
    assert (paid.unread, split.unread) == ((), ())


@pytest.mark.parametrize("name", EMPTY)
def test_a_recorded_chart_without_bars_is_empty(name: str) -> None:
    assert len(read_chart(chart(name))) == 0


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_recorded_chart_without_times_gives_its_prices_none(name: str) -> None:
    with pytest.raises(Transient, match="0 times, but 1 of open"):
        read_chart(chart(name))


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_recorded_summary_is_read_whole_or_known_to_be_none(name: str) -> None:
    answer, module = recorded(name), name.split("-")[1]
    body = json.dumps(answer["bodyJson"])
    if answer["status"] == 404:
        said = YahooSaid(404, *(explained(body) or ("", "")))
        assert said.means_nothing_there
        return

    (summary,) = content_of(body, "quoteSummary")
    read = companies.statistics("AAPL", summary, TODAY)
    told = {
        TOLD[module][key]: value
        for key, value in summary[module].items()
        if key in TOLD[module] and value is not None
    }

    (row,) = read.rows or (KeyStatistics(TODAY),)
    assert {field: getattr(row, field) for field in told} == told
    assert read.unread == ()
    if module == "price":
        (who,) = companies.information("AAPL", summary).rows
        assert isinstance(who, CompanyInfo)
        wanted = summary["price"]
        assert (who.name, who.currency) == (wanted["longName"], wanted.get("currency"))
        assert (who.quote_type, who.exchange) == (wanted["quoteType"], wanted["exchangeName"])


@pytest.mark.parametrize("symbol", EARNINGS)
def test_recorded_days_of_earnings_are_read_whole_or_known_to_be_none(symbol: str) -> None:
    answer, days = recorded(f"quoteSummary-calendarEvents-{symbol}"), EARNINGS[symbol]
    body = json.dumps(answer["bodyJson"])
    if days is None:
        assert YahooSaid(404, *(explained(body) or ("", ""))).means_nothing_there
        return

    (summary,) = content_of(body, "quoteSummary")
    read = companies.earnings(symbol, summary, TODAY)

    first, last, called = days
    assert read.rows == (EarningsDay(called, called), EarningsDay(first, last, is_estimate=True))
    assert (read.all_after, read.unread) == (TODAY, ())


def test_every_recorded_answer_is_read_or_named_as_not_asked_for() -> None:
    folder: Path = shared_file(FOLDER)
    calendars = (f"quoteSummary-calendarEvents-{symbol}" for symbol in EARNINGS)
    read = {*CHARTS, *EMPTY, *UNREADABLE, *SUMMARIES, *calendars}
    other = ("quote-", "quoteSummary-earnings-", "screener-", "trendingSymbols-")

    left = {path.stem for path in folder.glob("*.json")} - read

    assert [name for name in sorted(left) if not name.startswith(other)] == []
    assert [name for name in sorted(read) if not (folder / f"{name}.json").is_file()] == []


def same(ours: list[float], theirs: list[float | None]) -> bool:
    return [None if math.isnan(each) else each for each in ours] == theirs
