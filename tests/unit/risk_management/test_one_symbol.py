"""Trades in one symbol under the same limits as pairs, and the size that they get."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.risk_management.domain.book import Book, Holding
from src.services.risk_management.domain.codes import RejectCode
from src.services.risk_management.domain.review import (
    OpenTrade,
    SlotSignal,
    decide_entries,
    decide_exits,
    not_yet_open,
)
from src.services.risk_management.domain.sizing import BetFraction, size_symbol
from src.services.risk_management.domain.state import Standing
from src.shared.domain.ids import symbol_trade_name
from src.shared.domain.instances import InstanceMode
from src.shared.domain.pairs import Direction
from src.shared.domain.risk import RiskDecision
from src.shared.domain.signals import SignalAction, signal_id
from tests.unit.risk_management.examples import LIMITS, RULES, SLOT, asset, book, correlations, holding, signal

EQUITY = Decimal(100_000)
LONG, SHORT = Direction.LONG_SPREAD, Direction.SHORT_SPREAD
BOOTSTRAP = BetFraction(Decimal("0.02"), "bootstrap", 0)
ACTIVE = InstanceMode.ACTIVE


def single(
    symbol: str = "AAA",
    action: SignalAction = SignalAction.ENTER_LONG,
    asked: float | None = 0.5,
    price: float | None = 50.0,
    then: InstanceMode = ACTIVE,
    now: InstanceMode = ACTIVE,
) -> SlotSignal:
    """A stored signal of the instance `trend` in one symbol."""
    name = symbol_trade_name("trend", symbol)
    identity = signal_id(name, SLOT)
    return SlotSignal(identity, name, symbol, None, 0.0, action, then, now, price, None, None, "trend", asked)


def decided(
    found: SlotSignal, at: Book | None = None, results: dict[str, list[Decimal]] | None = None
) -> RiskDecision:
    (decision,) = decide_entries([found], at or book(), LIMITS, RULES, results or {}, {})
    return decision


@pytest.mark.parametrize(
    ("asked", "fraction", "dollars"),
    [("0.5", "0.02", 2_000), ("0.01", "0.02", 1_000), ("-0.5", "0.02", 2_000), ("1", "0.24", 12_000)],
    ids=["the edge", "what is asked for", "short", "the cap of a leg"],
)
def test_the_size_is_the_least_of_three_bounds_in_whole_shares(asked: str, fraction: str, dollars: int) -> None:
    direction = LONG if float(asked) > 0 else SHORT
    bet = replace(BOOTSTRAP, value=Decimal(fraction))

    size = size_symbol(direction, 30.0, float(asked), equity=EQUITY, fraction=bet, rules=RULES)

    assert size.code is None
    assert size.quantity_1 == direction.sign * (Decimal(dollars) // 30)
    assert size.quantity_2 == size.notional_2 == 0
    assert size.notional_1 == size.quantity_1 * 30
    assert size.numbers["gross_target"] == str(Decimal(size.numbers["gross_target"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("price", "asked", "fraction", "code"),
    [
        (float("nan"), 0.5, "0.02", RejectCode.UNSIZABLE),
        (0.0, 0.5, "0.02", RejectCode.UNSIZABLE),
        (50.0, float("nan"), "0.02", RejectCode.UNSIZABLE),
        (50.0, -0.5, "0.02", RejectCode.UNSIZABLE),
        (50.0, 0.5, "0", RejectCode.NO_EDGE),
        (5_000.0, 0.5, "0.02", RejectCode.SIZE_TOO_SMALL),
    ],
)
def test_what_gets_no_size_says_why(price: float, asked: float, fraction: str, code: RejectCode) -> None:
    bet = replace(BOOTSTRAP, value=Decimal(fraction))

    size = size_symbol(LONG, price, asked, equity=EQUITY, fraction=bet, rules=RULES)

    assert size.code is code
    assert size.quantity_1 == size.notional_1 == 0


@given(
    price=st.floats(0.01, 1e4),
    asked=st.floats(1e-6, 1.0),
    fraction=st.decimals("0.001", "0.24", places=4),
    equity=st.decimals("1", "10000000", places=2),
)
def test_no_size_is_beyond_any_of_its_bounds(price: float, asked: float, fraction: Decimal, equity: Decimal) -> None:
    bet = replace(BOOTSTRAP, value=fraction)

    size = size_symbol(SHORT, price, -asked, equity=equity, fraction=bet, rules=RULES)

    most = min(Decimal(str(asked)), fraction, RULES.max_leg_fraction) * equity
    assert abs(size.notional_1) <= most
    assert size.quantity_1 == size.quantity_1.to_integral_value()
    assert (size.quantity_1 < 0) == (size.code is None)


def test_an_entry_is_approved_with_every_number_and_no_second_leg() -> None:
    found = decided(single())

    assert (found.approved, found.pair_id) == (True, "trend:AAA")
    assert found.quantity_1 == 40
    assert found.quantity_2 == 0
    assert "z" not in found.numbers
    assert found.numbers["shortable"] == {"symbol": None}
    assert set(found.numbers["earnings"]) == {"sessions", "AAA"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("found", "at", "code"),
    [
        (single(now=InstanceMode.OBSERVE), book(), "PAIR_NOT_ACTIVE"),
        (single(then=InstanceMode.OBSERVE), book(), "PAIR_NOT_ACTIVE"),
        (single(price=None), book(), "DATA_STALE"),
        (single("ZZZ"), book(), "DATA_STALE"),
        (single(), book(assets={}), "NOT_TRADABLE"),
        (single(), book(holdings=(Holding("trend:AAA", "AAA", None, Decimal(10), Decimal(0)),)), "PAIR_ALREADY_OPEN"),
        (single(), book(orders_today=LIMITS.max_orders_per_day), "ORDERS_PER_DAY"),
        (single(), book(holdings=(holding("AAA/CCC", "10", "-10"),)), "CORRELATION"),
        (
            single(),
            book(holdings=(holding("CCC/DDD", "10", "-10"),), correlations=correlations({("AAA", "DDD"): 0.9})),
            "CORRELATION",
        ),
        (single(), book(reserved=Decimal(199_000)), "BUYING_POWER"),
        (
            single(action=SignalAction.ENTER_SHORT, asked=-0.5),
            book(assets={"AAA": replace(asset("AAA"), easy_to_borrow=False)}),
            "NOT_SHORTABLE",
        ),
    ],
)
def test_the_limits_of_pairs_deny_it(found: SlotSignal, at: Book, code: str) -> None:
    decision = decided(found, at)

    assert (decision.approved, decision.code) == (False, code)
    assert decision.quantity_1 == decision.quantity_2 == 0
    assert "None" not in decision.reason


def test_a_long_entry_needs_no_borrow() -> None:
    assert decided(single(), book(assets={"AAA": replace(asset("AAA"), easy_to_borrow=False)})).approved


def test_it_is_one_order_and_one_that_is_left_fits() -> None:
    last_one = book(orders_today=LIMITS.max_orders_per_day - 1)

    assert decided(single(), last_one).approved
    assert decided(signal(), last_one).code == "ORDERS_PER_DAY"


def test_its_edge_is_that_of_all_trades_of_its_instance() -> None:
    losing = [Decimal(1), *[Decimal(-1)] * 30]

    assert decided(single(), results={"trend": losing}).code == "NO_EDGE"
    assert decided(single(), results={"trend:AAA": losing}).approved


def test_pairs_come_first_and_count_against_what_comes_after() -> None:
    at = book()
    entries = decide_entries([single("BBB"), signal("AAA/BBB")], at, LIMITS, RULES, {}, {})

    assert [(each.pair_id, each.code) for each in entries] == [("AAA/BBB", "APPROVED"), ("trend:BBB", "CORRELATION")]


def test_what_is_approved_and_not_begun_counts_with_its_one_symbol() -> None:
    waiting = list(not_yet_open([decided(single())], []))

    assert waiting == [OpenTrade("trend:AAA", SLOT, "AAA", None, Decimal(40), Decimal(0))]
    assert waiting[0].holding({"AAA": 50.0}).legs == (("AAA", Decimal(2000)),)


def test_its_exit_is_approved_whatever_the_mode_of_its_instance() -> None:
    (found,) = decide_exits([single(action=SignalAction.EXIT, now=InstanceMode.OFF)], SLOT, Standing())

    assert found.approved
    assert found.quantity_1 == 0
