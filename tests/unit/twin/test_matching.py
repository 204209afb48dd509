from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.twin.domain.book import Book
from src.services.twin.domain.errors import VenueRefusal
from src.services.twin.domain.market import Market
from src.services.twin.domain.moments import parse_moment
from src.services.twin.domain.orders import NEXT, Status
from src.services.twin.domain.venue import Venue
from tests.unit.twin.markets import Row, market, order, venue

#                 09:30                 10:00                 10:30 gap  11:00
DAY: list[Row] = [(100, 102, 99, 101), (101, 103, 100, 102), None, (105, 106, 95, 104)]
OPEN, TEN, HALF_PAST, ELEVEN = (f"2025-03-03T{time}:00Z" for time in ("14:30", "15:00", "15:30", "16:00"))


@pytest.fixture
def prices() -> Market:
    return market(AAA=DAY, BBB=[(50, 51, 49, 50)] * 13)


def filled(at: Venue) -> list[tuple[str, str, str]]:
    return [(fill.symbol, f"{fill.qty:f}", f"{fill.price:f}") for fill in at.fills]


def test_a_market_order_fills_at_the_open_of_the_bar_in_progress(prices: Market) -> None:
    at = venue(prices, at="2025-03-03T15:00:07Z")

    at.submit(order("buy", "10"))

    assert filled(at) == [("AAA", "10", "101")]


def test_the_last_equity_is_that_of_the_close_before_today(prices: Market) -> None:
    at = venue(prices, at=TEN)
    at.submit(order("buy", "10"))

    told = []
    for moment in ("2025-03-03T22:00:00Z", "2025-03-04T05:00:00Z", "2025-03-04T22:00:00Z"):
        at.advance(parse_moment(moment))
        told.append(at.last_equity)

    assert told == [100_000, 100_030, 100_030]  # bought at 101, closed at 104


def test_a_market_order_in_a_gap_fills_at_the_next_open(prices: Market) -> None:
    at = venue(prices, at=HALF_PAST)
    at.submit(order("buy", "10"))
    before = filled(at)

    at.advance(parse_moment("2025-03-03T16:00:00Z"))

    assert (before, filled(at)) == ([], [("AAA", "10", "105")])


def test_a_resting_limit_fills_at_its_price_once_a_whole_bar_touched_it(prices: Market) -> None:
    at = venue(prices, at=TEN)
    at.submit(order("buy", "10", limit="96"))

    at.advance(parse_moment("2025-03-03T16:29:59Z"))
    before = filled(at)
    at.advance(parse_moment("2025-03-03T16:30:00Z"))

    assert (before, filled(at)) == ([], [("AAA", "10", "96")])


def test_a_low_that_came_before_the_order_does_not_fill_it(prices: Market) -> None:
    at = venue(prices, at="2025-03-03T16:10:00Z")
    at.submit(order("buy", "10", limit="96"))

    at.advance(parse_moment("2025-03-03T16:30:00Z"))

    assert filled(at) == []


def test_a_marketable_limit_fills_at_the_better_open(prices: Market) -> None:
    at = venue(prices, at=TEN)

    at.submit(order("buy", "10", limit="110"))

    assert filled(at) == [("AAA", "10", "101")]


def test_a_stop_fills_at_its_price_or_through_the_gap_at_the_open(prices: Market) -> None:
    at = venue(prices, at=OPEN)
    at.submit(order("buy", "1", stop="101.5"))
    at.submit(order("buy", "2", stop="104"))

    at.advance(parse_moment(ELEVEN))

    assert filled(at) == [("AAA", "1", "101.5"), ("AAA", "2", "105")]


def test_the_spread_makes_buys_dearer_and_sells_cheaper(prices: Market) -> None:
    at = venue(prices, at=OPEN, half_spread_bps=10)

    at.submit(order("buy", "1"))
    at.submit(order("sell", "1", "BBB"))

    (_, _, bought), (_, _, sold) = filled(at)
    assert Decimal(100) < Decimal(bought) < Decimal("100.13")
    assert Decimal("49.93") < Decimal(sold) < Decimal(50)


def test_moving_in_one_step_or_in_many_gives_the_same_account() -> None:
    flat: list[Row] = [(104, 105, 103, 104)] * 9
    prices = market(AAA=DAY + flat + DAY + flat, BBB=[(50, 51, 49, 50)] * 26)

    def account(stops: list[str]) -> tuple[list[tuple[str, str, str]], Decimal, list[Status]]:
        at = venue(prices, at="2025-03-03T22:00:00Z")
        at.submit(order("buy", "10"))
        at.submit(order("buy", "5", limit="96"))
        at.submit(order("sell", "7", "BBB", limit="60"))
        for stop in stops:
            at.advance(parse_moment(stop))
        return filled(at), at.book.cash, [o.status for o in at.orders.values()]

    hours = [f"2025-03-04T{hour}:{minute}:00Z" for hour in range(14, 22) for minute in ("00", "17", "30")]

    at_once = account(["2025-03-05T15:00:00Z"])
    assert at_once == account([*hours, "2025-03-05T15:00:00Z"])
    assert at_once[0] == [("AAA", "10", "100"), ("AAA", "5", "96")]
    assert at_once[2] == [Status.FILLED, Status.FILLED, Status.EXPIRED]


def test_the_table_of_states_stops_an_impossible_step(prices: Market) -> None:
    at = venue(prices, at=OPEN)
    at.submit(order("buy", "1"))
    (done,) = at.orders.values()

    with pytest.raises(ValueError, match="can't go from filled"):
        done.move(Status.CANCELED, 0)
    assert not {Status.FILLED, Status.EXPIRED, Status.REPLACED, Status.REJECTED} & set(NEXT)
    assert NEXT[Status.CANCELED] == {Status.CANCELED, Status.FILLED}


def test_a_refused_order_changes_nothing(prices: Market) -> None:
    at = venue(prices, at=OPEN, cash=1000)

    with pytest.raises(VenueRefusal, match="buying power"):
        at.submit(order("buy", "100"))
    with pytest.raises(VenueRefusal, match="not allowed to short"):
        at.submit(order("sell", "1"))

    assert (at.orders, at.drain().events) == ({}, [])


def test_a_replaced_partial_fill_leaves_only_the_rest(prices: Market) -> None:
    at = venue(prices, at=OPEN, partial_fill_probability=1.0)
    first = at.submit(order("buy", "10", limit="102"))
    done = at.order(first.id).filled_qty

    second = at.replace(first.id, order("buy", "20", limit="102"))

    assert 0 < done < 10
    assert second.qty == 20 - done


def test_the_valuation_of_a_hedged_book() -> None:
    at = venue(market(AAA=[(100, 100, 100, 100)], BBB=[(50, 50, 50, 50)]), at=OPEN)
    at.submit(order("buy", "100"))
    at.submit(order("sell", "200", "BBB"))

    worth = at.valuation()

    assert [worth.equity, worth.gross, worth.buying_power] == [100_000, 20_000, 180_000]
    assert [worth.long_value, worth.short_value] == [10_000, -10_000]


trades = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(100, 20_000).map(lambda cents: Decimal(cents) / 100)),
    max_size=30,
)


@given(trades)
@settings(max_examples=60, deadline=None)
def test_cash_and_quantity_are_the_sums_of_the_trades(moves: list[tuple[int, Decimal]]) -> None:
    book = Book(Decimal(1000))

    for qty, price in moves:
        book.apply("AAA", Decimal(qty), price)

    assert book.held("AAA") == sum(qty for qty, _ in moves)
    assert book.cash == 1000 - sum(qty * price for qty, price in moves)


@given(st.permutations(["a", "b", "c", "d", "e"]))
@settings(max_examples=20, deadline=None)
def test_a_partial_fill_depends_on_the_client_order_id_alone(ids: list[str]) -> None:
    prices = market(AAA=DAY)
    at = venue(prices, at=OPEN, partial_fill_probability=0.5)

    for client_id in ids:
        at.submit(order("buy", "10", client_order_id=client_id))

    shares = {fill.client_order_id: fill.qty for fill in at.fills}
    alone = venue(prices, at=OPEN, partial_fill_probability=0.5)
    alone.submit(order("buy", "10", client_order_id="c"))
    assert shares["c"] == alone.fills[0].qty
