from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.twin.domain.fundamentals import (
    REPORTED_AFTER,
    annual_statements,
    company_profile,
    last_year,
    quarterly_statements,
)

TODAY = date(2026, 11, 20)
seeds = st.integers(min_value=0, max_value=10_000)
symbols = st.from_regex(r"[A-Z]{1,5}", fullmatch=True)


@given(seeds, symbols)
def test_assets_are_liabilities_and_equity_in_every_quarter(seed: int, symbol: str) -> None:
    for quarter in quarterly_statements(seed, symbol, TODAY):
        sheet = quarter.balance
        assert sheet["TotalAssets"] == sheet["TotalLiabilitiesNetMinorityInterest"] + sheet["StockholdersEquity"]
        assert sheet["TotalAssets"] == sheet["CurrentAssets"] + sheet["TotalNonCurrentAssets"]


@given(seeds, symbols)
def test_four_quarters_are_a_year(seed: int, symbol: str) -> None:
    quarters = quarterly_statements(seed, symbol, TODAY)
    for year in annual_statements(quarters):
        parts = [quarter for quarter in quarters if quarter.end.year == year.end.year]
        assert year.income["TotalRevenue"] == sum(part.income["TotalRevenue"] for part in parts)
        assert year.income["NetIncome"] == sum(part.income["NetIncome"] for part in parts)
        assert year.balance == parts[-1].balance
        flow = year.cash_flow
        assert flow["EndCashPosition"] == flow["BeginningCashPosition"] + flow["ChangesInCash"]


@given(seeds, symbols)
def test_cash_flows_from_one_quarter_into_the_next(seed: int, symbol: str) -> None:
    quarters = quarterly_statements(seed, symbol, TODAY)
    for before, after in pairwise(quarters):
        assert after.cash_flow["BeginningCashPosition"] == before.cash_flow["EndCashPosition"]
        assert after.balance["CashAndCashEquivalents"] == after.cash_flow["EndCashPosition"]


def test_a_quarter_is_told_once_it_is_published_and_stays_as_it_was() -> None:
    published = date(2024, 12, 31) + REPORTED_AFTER

    before = quarterly_statements(7, "KELV", published - timedelta(days=1))
    after = quarterly_statements(7, "KELV", published)

    assert [quarter.end for quarter in after[len(before) :]] == [date(2024, 12, 31)]
    assert after[: len(before)] == before
    assert last_year(after).income["TotalRevenue"] == annual_statements(after)[-1].income["TotalRevenue"]


@pytest.mark.parametrize("symbol", ["KELV", "KYLO", "AAPL"])
def test_a_company_is_the_same_for_ever_and_unlike_others(symbol: str) -> None:
    assert company_profile(7, symbol) == company_profile(7, symbol)
    assert len({officer.name for officer in company_profile(7, symbol).officers}) == 4
    assert company_profile(7, symbol) != company_profile(8, symbol)
