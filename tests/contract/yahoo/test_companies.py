"""What Yahoo says of companies, read through the real yfinance from the twin, with its odd days."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from src.services.data_ingestion.adapters.yahoo.client import YahooClient
from src.services.data_ingestion.adapters.yahoo.source import YahooCompanies
from src.services.data_ingestion.domain.company import (
    CompanyDataset,
    CompanyInfo,
    DividendPaid,
    EarningsDay,
    Holder,
    KeyStatistics,
    Officer,
    SplitDone,
    StatementItem,
)
from src.shared.domain.errors import Refused
from src.shared.domain.ids import parse_symbol
from tests.fakes.twin_server import TwinHandle

TODAY = date(2025, 3, 3)
OF_COMPANIES = [
    CompanyDataset.INFORMATION,
    CompanyDataset.OFFICERS,
    CompanyDataset.STATISTICS,
    CompanyDataset.HOLDERS,
    CompanyDataset.EARNINGS,
]


def test_a_company_is_read_whole(companies: YahooCompanies) -> None:
    answer = companies.ask(CompanyDataset.INFORMATION, "KELV", TODAY)

    (info,) = answer.rows
    assert isinstance(info, CompanyInfo)
    assert (info.name, info.quote_type, info.currency, info.country) == (
        "Kelvin Grid",
        "EQUITY",
        "USD",
        "United States",
    )
    assert info.employees
    assert answer.unread == ()


def test_officers_are_read_with_their_pay(companies: YahooCompanies) -> None:
    rows = companies.ask(CompanyDataset.OFFICERS, "KELV", TODAY).rows

    assert len(rows) == 4
    assert all(isinstance(row, Officer) and row.name and row.title and row.total_pay for row in rows)


def test_statistics_are_those_of_the_day_and_fit_together(companies: YahooCompanies) -> None:
    (row,) = companies.ask(CompanyDataset.STATISTICS, "KELV", TODAY).rows

    assert isinstance(row, KeyStatistics)
    assert row.as_of == TODAY
    assert None not in (row.market_cap, row.shares_outstanding, row.eps_trailing, row.trailing_pe, row.dividend_yield)
    price = (row.market_cap or 0) / (row.shares_outstanding or 1)
    assert row.trailing_pe == pytest.approx(price / (row.eps_trailing or 1), rel=1e-2)
    assert 0 < (row.dividend_yield or 0) < 0.2


def test_statements_are_quarterly_and_annual_and_add_up(companies: YahooCompanies) -> None:
    answer = companies.ask(CompanyDataset.STATEMENTS, "KELV", TODAY)
    rows = [row for row in answer.rows if isinstance(row, StatementItem)]

    ends = Counter(
        (row.period, row.statement) for row in rows if row.item in ("NetIncome", "TotalAssets", "FreeCashFlow")
    )
    assert ends == {
        ("quarterly", "income"): 5,
        ("annual", "income"): 4,
        ("quarterly", "balance_sheet"): 5,
        ("annual", "balance_sheet"): 4,
        ("quarterly", "cash_flow"): 5,
        ("annual", "cash_flow"): 4,
    }
    revenue = {(row.period, row.period_end): row.value for row in rows if row.item == "TotalRevenue"}
    quarters = [value for (period, end), value in revenue.items() if period == "quarterly" and end.year == 2024]
    assert sum(quarters) == revenue["annual", date(2024, 12, 31)]
    assert {row.currency for row in rows} == {"USD"}
    assert answer.unread == ()


def test_holders_are_read_with_fractions(companies: YahooCompanies) -> None:
    rows = companies.ask(CompanyDataset.HOLDERS, "KELV", TODAY).rows

    assert len(rows) == 5
    assert all(isinstance(row, Holder) and row.report_date == date(2024, 12, 31) for row in rows)
    assert all(isinstance(row, Holder) and 0 < (row.held or 0) < 1 for row in rows)


def test_dividends_and_splits_are_the_twin_s_actions(twin: TwinHandle, companies: YahooCompanies) -> None:
    twin.admin.post("corporate-actions", type="cash_dividend", symbol="KELV", ex_date="2025-03-05", rate="0.5")
    twin.admin.post("corporate-actions", type="forward_split", symbol="KELV", ex_date="2025-03-10", new_rate="2")
    twin.admin.move_clock("2025-03-20T15:30:05Z")
    today = date(2025, 3, 20)

    assert companies.ask(CompanyDataset.DIVIDENDS, "KELV", today).rows == (
        DividendPaid(date(2025, 3, 5), Decimal("0.25")),
    )
    assert companies.ask(CompanyDataset.SPLITS, "KELV", today).rows == (
        SplitDone(date(2025, 3, 10), Decimal(1), Decimal(2)),
    )
    assert companies.ask(CompanyDataset.SPLITS, "KYLO", today).empty_because


def test_days_of_earnings_are_a_span_until_they_are_near_and_the_last_one_stays_told(
    twin: TwinHandle, companies: YahooCompanies
) -> None:
    far = companies.ask(CompanyDataset.EARNINGS, "KELV", TODAY)
    twin.admin.move_clock("2025-04-21T15:30:05Z")
    near = companies.ask(CompanyDataset.EARNINGS, "KELV", date(2025, 4, 21))

    last = EarningsDay(date(2025, 2, 5), date(2025, 2, 5))
    assert far.rows == (last, EarningsDay(date(2025, 5, 4), date(2025, 5, 8), is_estimate=True))
    assert near.rows == (last, EarningsDay(date(2025, 5, 6), date(2025, 5, 6)))
    assert (far.all_after, near.all_after) == (TODAY, date(2025, 4, 21))


def test_an_answer_without_a_day_to_come_takes_none_back(twin: TwinHandle, companies: YahooCompanies) -> None:
    nothing: dict[str, object] = {"quoteSummary.result.0.calendarEvents.earnings.earningsDate": []}
    twin.admin.fault(kind="extra", endpoint="GET /yahoo/v10/*", set=nothing)

    answer = companies.ask(CompanyDataset.EARNINGS, "KELV", TODAY)

    assert answer.rows == (EarningsDay(date(2025, 2, 5), date(2025, 2, 5)),)
    assert answer.all_after is None


def test_a_day_of_earnings_that_can_t_be_read_is_set_aside(twin: TwinHandle, companies: YahooCompanies) -> None:
    odd = {"quoteSummary.result.0.calendarEvents.earnings.earningsDate": ["soon"]}
    twin.admin.fault(kind="extra", endpoint="GET /yahoo/v10/*", set=odd)

    answer = companies.ask(CompanyDataset.EARNINGS, "KELV", TODAY)

    assert [each.reason for each in answer.unread] == ["earningsDate: 'soon' is no number"]
    assert len(answer.rows) == 1


@pytest.mark.parametrize("form", ["infinity", "infinity_text", "nan", "not_available"])
def test_figures_that_are_none_are_absent_and_cost_nothing_else(
    twin: TwinHandle, companies: YahooCompanies, form: str
) -> None:
    twin.admin.fault(kind="odd_numbers", form=form, names=["trailingPE", "beta", "totalPay", "pctHeld"])

    statistics = companies.ask(CompanyDataset.STATISTICS, "KELV", TODAY)

    (row,) = statistics.rows
    assert isinstance(row, KeyStatistics)
    assert (row.trailing_pe, row.beta) == (None, None)
    assert row.market_cap
    assert statistics.unread == ()
    holders = companies.ask(CompanyDataset.HOLDERS, "KELV", TODAY).rows
    assert [(row.held, bool(row.shares)) for row in holders if isinstance(row, Holder)] == [(None, True)] * 5


def test_a_per_cent_in_words_is_a_fraction(twin: TwinHandle, companies: YahooCompanies) -> None:
    twin.admin.fault(kind="odd_numbers", form="percent_text", names=["dividendYield"])

    (row,) = companies.ask(CompanyDataset.STATISTICS, "KELV", TODAY).rows

    assert isinstance(row, KeyStatistics)
    assert row.dividend_yield == 0.123


def test_what_can_t_be_read_is_set_aside_with_its_reason(twin: TwinHandle, companies: YahooCompanies) -> None:
    twin.admin.fault(kind="odd_numbers", form="words", names=["beta", "age", "reportDate"])

    statistics = companies.ask(CompanyDataset.STATISTICS, "KELV", TODAY)
    officers = companies.ask(CompanyDataset.OFFICERS, "KELV", TODAY)
    holders = companies.ask(CompanyDataset.HOLDERS, "KELV", TODAY)

    assert {each.reason for each in statistics.unread} == {
        "defaultKeyStatistics.beta: 'see note 4' is no number",
        "summaryDetail.beta: 'see note 4' is no number",
    }
    assert len(statistics.rows) == 1
    assert [(row.age, bool(row.name)) for row in officers.rows if isinstance(row, Officer)] == [(None, True)] * 4
    assert len(officers.unread) == 4
    assert holders.rows == ()
    assert {each.rule for each in holders.unread} == {"figure", "name"}


@pytest.mark.parametrize("form", ["infinity", "words"])
def test_one_odd_figure_of_the_books_costs_no_other(twin: TwinHandle, companies: YahooCompanies, form: str) -> None:
    whole = companies.ask(CompanyDataset.STATEMENTS, "KELV", TODAY)
    # The first answer of six: the quarterly income statement.
    twin.admin.fault(kind="odd_numbers", form=form, endpoint="GET /yahoo/ws/*", nth=1)

    answer = companies.ask(CompanyDataset.STATEMENTS, "KELV", TODAY)

    lost = [
        row
        for row in whole.rows
        if isinstance(row, StatementItem) and (row.statement, row.period) == ("income", "quarterly")
    ]
    assert len(answer.rows) == len(whole.rows) - len(lost)
    assert len(answer.unread) == (len(lost) if form == "words" else 0)


@pytest.mark.parametrize(
    ("spoilt", "rule"),
    [
        ({"timeseries.result.0.quarterlyTotalRevenue.0.currencyCode": "dollars"}, "schema"),
        ({"timeseries.result.0.quarterlyTotalRevenue.0.periodType": "6M"}, "period"),
        ({"timeseries.result.0.quarterlyTotalRevenue.0.asOfDate": "soon"}, "figure"),
    ],
)
def test_a_point_that_breaks_the_schema_is_set_aside(
    twin: TwinHandle, companies: YahooCompanies, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, Any], rule: str
) -> None:
    monkeypatch.setattr(
        "yfinance.const.fundamentals_keys",
        {key: ["TotalRevenue"] for key in ("financials", "balance-sheet", "cash-flow")},
    )
    twin.admin.fault(kind="extra", endpoint="GET /yahoo/ws/*", nth=1, set=spoilt)

    answer = companies.ask(CompanyDataset.STATEMENTS, "KELV", TODAY)

    assert [each.rule for each in answer.unread] == [rule]
    assert (
        len(
            [
                row
                for row in answer.rows
                if isinstance(row, StatementItem) and row.period == "quarterly" and row.statement == "income"
            ]
        )
        == 4
    )


@pytest.mark.parametrize("dataset", OF_COMPANIES)
def test_a_fund_has_nothing_of_a_company_and_is_known_all_the_same(
    twin: TwinHandle, companies: YahooCompanies, dataset: CompanyDataset
) -> None:
    twin.admin.fault(kind="missing_modules")

    answer = companies.ask(dataset, "KELV", TODAY)

    assert (answer.rows, answer.unread) == ((), ())
    assert answer.empty_because


def test_a_missing_module_leaves_what_the_others_say(twin: TwinHandle, companies: YahooCompanies) -> None:
    twin.admin.fault(kind="missing_modules", without=["summaryDetail"])

    (row,) = companies.ask(CompanyDataset.STATISTICS, "KELV", TODAY).rows

    assert isinstance(row, KeyStatistics)
    assert (row.trailing_pe, row.high_52_weeks) == (None, None)
    assert row.market_cap
    assert row.beta


@pytest.mark.parametrize("dataset", [*OF_COMPANIES, CompanyDataset.DIVIDENDS])
def test_an_unknown_symbol_is_refused(companies: YahooCompanies, dataset: CompanyDataset) -> None:
    with pytest.raises(Refused, match="does not know NOPE"):
        companies.ask(dataset, "NOPE", TODAY)


def test_the_library_s_own_ticker_reads_the_same_from_the_twin(
    twin: TwinHandle, yahoo: YahooClient, companies: YahooCompanies
) -> None:
    import yfinance

    from src.services.data_ingestion.adapters.yahoo.route import Route
    from src.services.data_ingestion.adapters.yahoo.session import BoundedSession
    from src.shared.infra.rate_limit import MinuteLimiter

    companies.ask(CompanyDataset.INFORMATION, "KELV", TODAY)
    session = BoundedSession(Route(f"{twin.url}/yahoo", 1, 1), MinuteLimiter(1000))
    ticker = yfinance.Ticker(parse_symbol("KELV"), session=session)
    yfinance.data.YfData.cache_get.cache_clear()

    frame = ticker.quarterly_income_stmt
    ours = {
        (row.item, row.period_end): row.value
        for row in companies.ask(CompanyDataset.STATEMENTS, "KELV", TODAY).rows
        if isinstance(row, StatementItem) and row.statement == "income" and row.period == "quarterly"
    }
    theirs = {
        (str(item).replace(" ", ""), day.date()): value
        for item, row in frame.iterrows()
        for day, value in row.items()
    }
    assert ours == theirs
    held = ticker.institutional_holders
    assert [
        row.organization
        for row in companies.ask(CompanyDataset.HOLDERS, "KELV", TODAY).rows
        if isinstance(row, Holder)
    ] == held["Holder"].tolist()
    assert ticker.info["longName"] == "Kelvin Grid"
    _, coming = companies.ask(CompanyDataset.EARNINGS, "KELV", TODAY).rows
    assert isinstance(coming, EarningsDay)
    # The library takes the days of the machine's time zone.
    both = zip(ticker.calendar["Earnings Date"], [coming.first_day, coming.last_day], strict=True)
    assert all(abs((their_day - our_day).days) <= 1 for their_day, our_day in both)
