"""The looks before an order and after a day: precheck, reconciliation, postings."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.execution.domain.books import HOLDINGS, postings
from src.services.execution.domain.precheck import Surroundings, objection
from src.services.execution.domain.reconciliation import compare, late_news
from src.shared.domain.orders import AssetReport, FillReport, OrderState, PositionReport
from tests.unit.execution.examples import SLOT, intent, report, trade

GOOD = {name: AssetReport(name, name, "XNYS", True, True, True) for name in ("AAA", "BBB")}
CLEAR = Surroundings(GOOD, {}, {}, frozenset())
TEN = Decimal(10)


def but(symbol: str, **changes: Any) -> Surroundings:
    return replace(CLEAR, assets={**GOOD, symbol: replace(GOOD[symbol], **changes)})


@pytest.mark.parametrize(
    ("around", "said"),
    [
        (CLEAR, None),
        (replace(CLEAR, assets={"AAA": GOOD["AAA"]}), "BBB is not tradable"),
        (but("AAA", tradable=False), "AAA is not tradable"),
        (but("BBB", shortable=False), "BBB can't be sold short"),
        (but("BBB", easy_to_borrow=False), "BBB can't be sold short"),
        (but("AAA", shortable=False), None),
        (replace(CLEAR, external={"AAA": Decimal(1)}), "AAA is held outside of Tradewinds"),
        (replace(CLEAR, working=frozenset({"BBB"})), "an order in BBB is open"),
        (replace(CLEAR, ours={"AAA": Decimal(-1)}), "another pair holds AAA on the other side"),
        (replace(CLEAR, ours={"AAA": Decimal(1), "BBB": Decimal(-2)}), None),
    ],
)
def test_what_would_strand_a_leg_stops_the_entry(around: Surroundings, said: str | None) -> None:
    assert objection(trade(), around) == said


def test_a_part_of_a_share_is_not_ordered() -> None:
    assert objection(trade(target_1=Decimal("2.5")), CLEAR) == "2.5 of AAA is not a whole number of shares"


OURS = intent(1, 10)
CANCELED = intent(1, 10, OrderState.CANCELED)
GIVEN_UP = intent(1, 10, OrderState.CANCELED, broker_order_id=None)
HERS = report(OURS, "new", client_order_id="by-hand")


@pytest.mark.parametrize(
    ("held", "positions", "orders", "drifts"),
    [
        ({}, {}, [], set()),
        ({"AAA": 10}, {"AAA": 10}, [report(OURS, "filled")], set()),
        ({"AAA": 10}, {}, [], {"AAA"}),
        ({"AAA": 10}, {"AAA": 9}, [], {"AAA"}),
        ({"AAA": 10}, {"AAA": -10}, [], {"AAA"}),
        ({}, {"AAA": 10}, [], set()),
        ({}, {}, [HERS], set()),
        ({}, {}, [report(intent(2, -8), "filled")], {intent(2, -8).client_order_id}),
        ({}, {}, [report(OURS, "canceled", 9)], {OURS.client_order_id}),
    ],
)
def test_books_against_the_brokers_word(
    held: dict[str, int], positions: dict[str, int], orders: list[object], drifts: set[str]
) -> None:
    books = {symbol: Decimal(shares) for symbol, shares in held.items()}
    theirs = [PositionReport(symbol, Decimal(shares), TEN) for symbol, shares in positions.items()]

    found = compare(books, {OURS.client_order_id: OURS}, theirs, orders, [], "tw-twin-")  # type: ignore[arg-type]

    assert {drift.subject for drift in found} == drifts


def test_an_order_given_up_that_the_broker_works_on_is_a_drift() -> None:
    working = report(GIVEN_UP, "new")

    assert compare({}, {GIVEN_UP.client_order_id: GIVEN_UP}, [], [], [working], "tw-twin-")
    assert not compare({}, {CANCELED.client_order_id: CANCELED}, [], [], [working], "tw-twin-")


def test_news_are_late_when_their_order_is_done_here_and_filled_further_there() -> None:
    ours = {CANCELED.client_order_id: CANCELED}
    more = report(CANCELED, "canceled", 3)

    assert late_news(ours, [report(CANCELED, "canceled"), HERS, more]) == [more]
    working = replace(CANCELED, state=OrderState.WORKING)
    assert late_news({working.client_order_id: working}, [more]) == []


@given(
    st.decimals("-99999", "99999", places=4).filter(bool),
    st.decimals("0.0001", "99999", places=4),
)
def test_every_execution_posts_zero_in_each_asset(quantity: Decimal, price: Decimal) -> None:
    lines = postings(FillReport("f", "b", "AAA", quantity, price, SLOT))

    totals = {asset: sum(p.amount for p in lines if p.asset == asset) for asset in ("AAA", "USD")}
    assert totals == {"AAA": 0, "USD": 0}
    assert [p.amount for p in lines if p.account == HOLDINGS] == [quantity]
