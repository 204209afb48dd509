from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.analytics.domain.results import FinishedTrade, TradeResult, result_of
from src.services.analytics.domain.summary import ResultSummary, summarise
from src.shared.domain.errors import Terminal
from src.shared.domain.sessions import TradingCalendar

FRIDAY = datetime(2026, 3, 6, 19, 30, tzinfo=UTC)
MONDAY = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)

# Bought 10 at 60.00 and sold 4 short at 150.00, closed at 61.00 and 151.00: 10 · 1.00 − 4 · 1.00 = 6.00.
TRADE = FinishedTrade(
    trade_version=4,
    pair_trade_id=UUID(int=7),
    pair_id="KO/PEP",
    opened_slot=FRIDAY,
    closed_slot=MONDAY,
    close_reason="EXIT_Z",
    cash_flow=Decimal("6.00"),
    entry_notional=Decimal("1200.00"),
    holdings={"KO": Decimal(0), "PEP": Decimal("0.000000000")},
)


def result(pair: str, pnl: str) -> TradeResult:
    return TradeResult(UUID(int=1), 4, pair, FRIDAY, MONDAY, 1, Decimal(100), Decimal(pnl), 0.0, "EXIT_Z")


def test_a_result_worked_by_hand() -> None:
    found = result_of(TRADE, TradingCalendar())

    assert (found.realized_pnl, found.gross_entry, found.return_on_gross) == (Decimal(6), Decimal(1200), 0.005)
    # Friday 15:30 and 16:00 in New York, Monday 10:30: the clocks went forward in between.
    assert found.holding_bars == 3


def test_a_trade_that_bought_nothing_returns_nothing() -> None:
    nothing = replace(TRADE, cash_flow=Decimal(0), entry_notional=Decimal(0), holdings={})

    assert result_of(nothing, TradingCalendar()).return_on_gross == 0.0


def test_a_long_reason_is_cut_to_what_the_table_holds() -> None:
    assert result_of(replace(TRADE, close_reason="x" * 99), TradingCalendar()).close_reason == "x" * 32


def test_a_finished_trade_that_holds_shares_has_no_result() -> None:
    with pytest.raises(Terminal, match="the books hold -4 PEP"):
        result_of(replace(TRADE, holdings={"KO": Decimal(0), "PEP": Decimal("-4.00")}), TradingCalendar())


def test_no_results_have_no_mean() -> None:
    assert summarise([]).overall == ResultSummary(0, 0, Decimal(0), None, None)
    assert summarise([]).pairs == {}


def test_results_are_summed_up_together_and_by_pair() -> None:
    found = summarise([result("V/MA", "-2"), result("KO/PEP", "6"), result("KO/PEP", "0")])

    assert found.overall == ResultSummary(3, 1, Decimal(4), Decimal(4) / 3, 1 / 3)
    assert found.pairs == {
        "KO/PEP": ResultSummary(2, 1, Decimal(6), Decimal(3), 0.5),
        "V/MA": ResultSummary(1, 0, Decimal(-2), Decimal(-2), 0.0),
    }


@given(st.lists(st.tuples(st.sampled_from(["A/B", "C/D", "E/F"]), st.decimals(-999, 999, places=2)), max_size=20))
def test_the_pairs_add_up_to_the_whole(entries: list[tuple[str, Decimal]]) -> None:
    found = summarise([result(pair, str(pnl)) for pair, pnl in entries])

    assert sum(each.trades for each in found.pairs.values()) == found.overall.trades == len(entries)
    assert sum(each.wins for each in found.pairs.values()) == found.overall.wins
    assert sum((each.total_pnl for each in found.pairs.values()), Decimal(0)) == found.overall.total_pnl
