"""What companies do to the books: whatever comes in whatever order, every entry balances and nothing is lost."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.execution.domain.books import HOLDINGS, IN_LIEU, Posting, postings, shares_moved
from src.services.execution.domain.company_actions import (
    Booking,
    Fraction,
    allot,
    bookings,
    in_lieu_bookings,
    times_of,
)
from src.services.twin.domain.book import Book
from src.services.twin.domain.company import ActionTerms, ActionType, effects
from src.shared.domain.corporate_actions import AccountActivity, CorporateAction, CorporateActionKind
from src.shared.domain.orders import FillReport
from src.shared.domain.sessions import TradingCalendar

DAY = date(2025, 3, 4)
NOON = datetime(2025, 3, 4, 17, tzinfo=UTC)
TRADE = uuid5(UUID(int=0), "trade")
PRICE = Decimal("51.37")

SPLIT, DIVIDEND, RENAMED = (
    CorporateActionKind.SPLIT,
    CorporateActionKind.CASH_DIVIDEND,
    CorporateActionKind.SYMBOL_CHANGE,
)
TWIN_TYPES = {
    SPLIT: ActionType.FORWARD_SPLIT,
    DIVIDEND: ActionType.CASH_DIVIDEND,
    RENAMED: ActionType.NAME_CHANGE,
    CorporateActionKind.CASH_MERGER: ActionType.CASH_MERGER,
    CorporateActionKind.REMOVAL: ActionType.WORTHLESS_REMOVAL,
}


def action(
    kind: CorporateActionKind, symbol: str = "AAA", old: int = 1, new: int = 1, cash: str = "0", name: str = "a"
) -> CorporateAction:
    new_symbol = f"{symbol}N" if kind is RENAMED else None
    return CorporateAction(
        name, kind, kind.value, symbol, DAY, Decimal(old), Decimal(new), Decimal(cash), new_symbol, {}
    )


def sums(lines: tuple[Posting, ...]) -> set[Decimal]:
    by_asset: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        by_asset[line.asset] += line.amount
    return set(by_asset.values()) - {Decimal(0)}


steps = st.one_of(
    st.tuples(st.just("fill"), st.integers(-300, 300).filter(bool), st.integers(1, 99_999)),
    st.tuples(st.just(SPLIT), st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.just(DIVIDEND), st.integers(0, 999), st.just(0)),
    st.tuples(st.just(RENAMED), st.just(0), st.just(0)),
    st.tuples(st.just(CorporateActionKind.CASH_MERGER), st.integers(1, 9_999), st.just(0)),
    st.tuples(st.just(CorporateActionKind.REMOVAL), st.just(0), st.just(0)),
)


class Ledger:
    """Our postings of one trade beside the twin's own book, both told the same story."""

    def __init__(self) -> None:
        self.lines: list[Posting] = []
        self.twin = Book(Decimal(0))
        self.symbol = "AAA"

    def total(self, account: str, asset: str) -> Decimal:
        return sum((p.amount for p in self.lines if (p.account, p.asset) == (account, asset)), Decimal(0))

    def add(self, lines: tuple[Posting, ...]) -> None:
        assert sums(lines) == set()
        self.lines += lines

    def fill(self, quantity: Decimal, price: Decimal) -> None:
        self.add(postings(FillReport("f", "b", self.symbol, quantity, price, NOON)))
        self.twin.apply(self.symbol, quantity, price)

    def act(self, done: CorporateAction) -> None:
        held = {TRADE: self.total(HOLDINGS, self.symbol)} if self.total(HOLDINGS, self.symbol) else {}
        paid: list[AccountActivity] = []
        position = self.twin.positions.get(self.symbol)
        if position is not None:
            terms = ActionTerms(
                TWIN_TYPES[done.kind], done.symbol, DAY, done.old_rate, done.new_rate, done.cash_per_share,
                done.new_symbol,
            )  # fmt: skip
            for effect in effects(terms, position, PRICE):
                self.twin.adjust(effect.symbol, effect.qty, effect.cost, effect.net_amount)
                if effect.type == "CIL":
                    paid.append(
                        AccountActivity("c", "CIL", DAY, effect.net_amount, effect.symbol, effect.qty, None, "", "")
                    )
        for booking in bookings(done, held, NOON):
            self.add(booking.lines)
        if due := self.total(IN_LIEU, self.symbol):
            waiting = [Fraction(done.id, TRADE, self.symbol, DAY, due)]
            for booking in in_lieu_bookings(waiting, paid, {done.id: NOON}):
                self.add(booking.lines)
        self.symbol = done.new_symbol or self.symbol


@given(st.lists(steps, max_size=12))
def test_books_and_the_twin_agree_after_any_story(story: list[tuple[object, int, int]]) -> None:
    ledger = Ledger()
    for number, (kind, first, second) in enumerate(story):
        if kind == "fill":
            ledger.fill(Decimal(first), Decimal(second) / 100)
        elif isinstance(kind, CorporateActionKind) and len(ledger.symbol) < 9:
            rates = (first, second) if kind is SPLIT else (1, 1)
            cash = "0" if kind is SPLIT else str(Decimal(first) / 100)
            ledger.act(action(kind, ledger.symbol, *rates, cash=cash, name=str(number)))

        assert ledger.total(HOLDINGS, ledger.symbol) == ledger.twin.held(ledger.symbol)
        assert ledger.total("cash", "USD") == ledger.twin.cash
        assert ledger.total(IN_LIEU, ledger.symbol) == 0


@given(st.lists(st.integers(1, 500), min_size=1, max_size=6), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_shares_are_allotted_as_the_account_is_rounded(held: list[int], old: int, new: int, short: bool) -> None:
    sign = -1 if short else 1
    by_trade = {UUID(int=i): Decimal(sign * shares) for i, shares in enumerate(held)}
    ratio = Decimal(new) / Decimal(old)

    allotted = allot(by_trade, ratio)

    # A ratio that has no end in decimals is rounded at the ninth place, which may be a share at the very border.
    exact = sum(held) * new / old
    total = sum((shares for shares, _ in allotted.values()), Decimal(0))
    assert abs(abs(float(total)) - exact) < 1 + 1e-6
    for trade, (shares, fraction) in allotted.items():
        assert shares == shares.to_integral_value()
        assert abs(shares - by_trade[trade] * ratio) <= 1
        assert abs(fraction) < 1


def test_cash_in_lieu_is_divided_by_fraction_to_the_last_cent() -> None:
    waiting = [Fraction("a", UUID(int=i), "AAA", DAY, Decimal("0.2")) for i in range(3)]
    paid = AccountActivity("c", "CIL", DAY, Decimal("10.00"), "AAA", Decimal("-0.6"), None, "", "")

    booked = in_lieu_bookings(waiting, [paid], {"a": NOON})

    dollars = [next(p.amount for p in b.lines if p.account == "cash") for b in booked]
    assert sorted(dollars) == [Decimal("3.33"), Decimal("3.33"), Decimal("3.34")]


def test_cash_for_shares_of_somebody_else_is_not_ours() -> None:
    waiting = [Fraction("a", TRADE, "AAA", DAY, Decimal("0.2"))]
    paid = AccountActivity("c", "CIL", DAY, Decimal("10.00"), "AAA", Decimal("-0.8"), None, "", "")

    (booked,) = in_lieu_bookings(waiting, [paid], {"a": NOON})

    assert [p.amount for p in booked.lines if p.account == "cash"] == [Decimal("2.50")]


def test_cash_that_has_not_come_is_waited_for() -> None:
    waiting = [Fraction("a", TRADE, "AAA", DAY, Decimal("0.2"))]
    early = AccountActivity("c", "CIL", DAY - timedelta(days=1), Decimal(10), "AAA", Decimal("-0.2"), None, "", "")
    other = AccountActivity("c", "CIL", DAY, Decimal(10), "BBB", Decimal("-0.2"), None, "", "")

    assert in_lieu_bookings(waiting, [early, other], {"a": NOON}) == []


@pytest.mark.parametrize(("held", "cash"), [(10, "3.30"), (-10, "-3.30")])
def test_a_dividend_pays_a_long_and_charges_a_short(held: int, cash: str) -> None:
    (booking,) = bookings(action(DIVIDEND, cash="0.33"), {TRADE: Decimal(held)}, NOON)

    assert booking.lines == (Posting("cash", "USD", Decimal(cash)), Posting("income", "USD", -Decimal(cash)))


def test_an_action_that_the_books_do_not_know_books_nothing() -> None:
    assert bookings(action(CorporateActionKind.OTHER), {TRADE: Decimal(10)}, NOON) == []


def test_a_split_scales_the_target_as_the_shares_held() -> None:
    (booking,) = bookings(action(SPLIT, old=10, new=1), {TRADE: Decimal(25)}, NOON)

    assert isinstance(booking, Booking)
    assert booking.scale == Decimal("0.08")
    assert shares_moved(booking.lines) == {"AAA": Decimal(-23)}


def test_a_position_that_a_split_leaves_without_a_share_is_paid_out_whole() -> None:
    (booking,) = bookings(action(SPLIT, old=10, new=1), {TRADE: Decimal(5)}, NOON)

    assert shares_moved(booking.lines) == {"AAA": Decimal(-5)}
    assert Posting(IN_LIEU, "AAA", Decimal("0.5")) in booking.lines


def test_actions_of_one_morning_happen_in_a_fixed_order_before_the_open() -> None:
    calendar = TradingCalendar()

    dividend, split, renamed = (times_of(action(kind), calendar).effective_at for kind in (DIVIDEND, SPLIT, RENAMED))

    assert dividend < split < renamed < datetime(2025, 3, 4, 14, 30, tzinfo=UTC)


def test_an_action_on_a_holiday_counts_from_the_next_session_and_freezes_from_the_one_before() -> None:
    moved = action(SPLIT)
    times = times_of(
        CorporateAction(**{**moved.__dict__, "ex_date": date(2025, 1, 20)}),  # Martin Luther King day
        TradingCalendar(),
    )

    assert times.since.date() == date(2025, 1, 17)
    assert times.effective_at.date() == times.day_over.date() == date(2025, 1, 21)
