"""The looks before an order and after a day: precheck, reconciliation, postings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.execution.domain.books import HOLDINGS, postings
from src.services.execution.domain.order_reports import apply_report
from src.services.execution.domain.precheck import Surroundings, objection
from src.services.execution.domain.reconciliation import (
    Blocks,
    Finding,
    Kind,
    Ours,
    Theirs,
    external_shares,
    late_news,
    reconcile,
    revenants,
)
from src.shared.domain.orders import AssetReport, FillReport, OrderReport, OrderState, PositionReport
from tests.unit.execution.examples import SLOT, intent, report, trade

GOOD = {name: AssetReport(name, name, "XNYS", True, True, True) for name in ("AAA", "BBB")}
CLEAR = Surroundings(GOOD, {}, {}, frozenset(), Decimal(3000))
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
        (
            replace(CLEAR, buying_power=Decimal("2999.99")),
            "all legs need $3000.00 of buying power, $2999.99 is left",
        ),
    ],
)
def test_what_would_strand_a_leg_stops_the_entry(around: Surroundings, said: str | None) -> None:
    assert objection(trade(), Decimal(3000), around) == said


def test_a_part_of_a_share_is_not_ordered() -> None:
    assert (
        objection(trade(target_1=Decimal("2.5")), Decimal(0), CLEAR) == "2.5 of AAA is not a whole number of shares"
    )


OURS = intent(1, 10)
CANCELED = intent(1, 10, OrderState.CANCELED)
GIVEN_UP = intent(1, 10, OrderState.CANCELED, broker_order_id=None)
HERS = report(OURS, "new", client_order_id="by-hand")
PREFIX = "tw-twin-"


def held(**shares: int) -> dict[str, Decimal]:
    return {symbol: Decimal(quantity) for symbol, quantity in shares.items()}


def told(positions: dict[str, Decimal], *orders: OrderReport, **more: Any) -> Theirs:
    rows = tuple(PositionReport(symbol, quantity) for symbol, quantity in positions.items())
    return replace(Theirs(rows, orders, ()), **more)


@pytest.mark.parametrize(
    ("books", "theirs", "found"),
    [
        (held(), told({}), set()),
        (held(AAA=10), told(held(AAA=10), report(OURS, "filled")), set()),
        (held(AAA=10), told({}), {(Kind.POSITION_DRIFT, "AAA")}),
        (held(AAA=10), told(held(AAA=9)), {(Kind.POSITION_DRIFT, "AAA")}),
        (held(AAA=10), told(held(AAA=-10)), {(Kind.POSITION_DRIFT, "AAA")}),
        (held(AAA=10), told(held(AAA=9), external=held(AAA=-2)), {(Kind.POSITION_DRIFT, "AAA")}),
        (held(AAA=10), told(held(AAA=9), external=held(AAA=-1)), {(Kind.EXTERNAL_POSITION, "AAA")}),
        (held(AAA=10), told({}, external=held(AAA=-10)), {(Kind.EXTERNAL_POSITION, "AAA")}),
        (held(), told(held(AAA=10)), {(Kind.EXTERNAL_POSITION, "AAA")}),
        (held(), told({}, HERS), set()),
        (held(), told({}, working=(HERS,)), {(Kind.EXTERNAL_ORDER, "by-hand")}),
        (held(), told({}, report(intent(2, -8), "filled")), {(Kind.UNKNOWN_ORDER, intent(2, -8).client_order_id)}),
        (held(), told({}, report(OURS, "canceled", 9)), {(Kind.LATE_FILL, OURS.client_order_id)}),
        (held(), told({}, working=(report(OURS, "new", 10),)), {(Kind.REVENANT, OURS.client_order_id)}),
    ],
)
def test_books_against_the_brokers_word(
    books: dict[str, Decimal], theirs: Theirs, found: set[tuple[Kind, str]]
) -> None:
    findings = reconcile(Ours(books, {OURS.client_order_id: OURS}, PREFIX), theirs)

    assert {(each.kind, each.subject) for each in findings} == found


def test_executions_that_do_not_add_up_stop_all_entries() -> None:
    ours = Ours({}, {OURS.client_order_id: OURS}, PREFIX, {OURS.client_order_id: Decimal(6)})

    (found,) = reconcile(ours, told({}))

    assert found.kind is Kind.MISSING_EXECUTIONS
    assert found.stops("ZZZ")
    assert str(found).endswith("Blocks all entries.")
    assert "booked 6 of 10 AAA filled" in str(found)


def test_what_others_do_stops_entries_in_their_symbol_alone() -> None:
    (found,) = reconcile(Ours({}, {}, PREFIX), told(held(AAA=3)))

    assert found.stops("AAA", "BBB")
    assert not found.stops("BBB", "CCC")
    assert found.blocks is Blocks.SYMBOL


@pytest.mark.parametrize("kind", list(Kind))
def test_every_finding_says_what_it_means(kind: Kind) -> None:
    assert Finding(kind, "AAA", "1 here, 2 there").meaning in str(Finding(kind, "AAA", "1 here, 2 there")).lower()


def test_an_order_over_here_that_the_broker_works_on_is_a_revenant() -> None:
    working = report(GIVEN_UP, "new")

    for over in (GIVEN_UP, CANCELED):
        assert revenants({over.client_order_id: over}, [working, HERS]) == [working]
    alive = replace(CANCELED, state=OrderState.WORKING)
    assert revenants({alive.client_order_id: alive}, [working]) == []


def test_executions_of_others_are_summed_from_when_we_hold_the_symbol() -> None:
    def fill(order: str, symbol: str, quantity: int, minutes: int) -> FillReport:
        moment = SLOT + timedelta(minutes=minutes)
        return FillReport(f"{order}{minutes}", order, symbol, Decimal(quantity), TEN, moment)

    fills = [fill("ours", "AAA", 10, 1), fill("x", "AAA", -3, 2), fill("x", "AAA", 5, -1), fill("x", "BBB", 7, 2)]

    assert external_shares(fills, {"ours"}, {"AAA": SLOT}) == {"AAA": Decimal(-3)}


SHARES = st.integers(-20, 20).map(Decimal)
BOOKS = st.dictionaries(st.sampled_from(["AAA", "BBB", "CCC"]), SHARES)


@given(BOOKS, BOOKS, BOOKS, st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10), st.integers(0, 10))))
def test_once_late_fills_are_heard_a_second_pass_finds_none_and_the_same_of_the_rest(
    books: dict[str, Decimal], positions: dict[str, Decimal], external: dict[str, Decimal], orders: list[Any]
) -> None:
    here = {i.client_order_id: i for i in (intent(1, 10, OrderState.CANCELED, f, attempt=n) for n, f, _ in orders)}
    there = [report(intent(1, 10, attempt=n), "canceled", told) for n, _, told in orders]
    reports = {order.client_order_id: order for order in there}
    theirs = told(positions, *reports.values(), external=external)
    first = reconcile(Ours(books, here, PREFIX), theirs)

    heard = dict(here)
    for news in late_news(here, reports.values()):
        heard[news.client_order_id] = apply_report(here[news.client_order_id], news)[-1]
    second = reconcile(Ours(books, heard, PREFIX), theirs)

    assert late_news(heard, reports.values()) == []
    assert second == reconcile(Ours(books, heard, PREFIX), theirs)
    assert {f for f in first if f.kind is not Kind.LATE_FILL} == {f for f in second if f.kind is not Kind.LATE_FILL}
    assert not {f.subject for f in second} & {news.client_order_id for news in late_news(here, reports.values())}


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
