"""What people are shown of positions and differences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from src.services.execution.domain.desk import (
    Bought,
    Close,
    Holding,
    Split,
    average_price,
    explain,
    is_external,
    lay_out,
    snapshot_moment,
)
from src.services.execution.domain.reconciliation import Finding, Kind
from src.services.execution.domain.two_leg import Cancel, GiveUp, next_step
from src.shared.domain.orders import OrderState, PositionReport
from src.shared.domain.pairs import PairTradeState
from tests.unit.execution.examples import RULES, SLOT, intent, report, situation, trade

TEN, HOUR = Decimal(10), timedelta(hours=1)
PREFIX = "tw-twin-"


def holding(quantity: int = 10, symbol: str = "AAA", pair: str = "AAA/BBB", price: str | None = "100") -> Holding:
    return Holding(symbol, pair, trade().id, "open", Decimal(quantity), None if price is None else Decimal(price))


def told(symbol: str, quantity: int, price: str | None = "101") -> PositionReport:
    return PositionReport(symbol, Decimal(quantity), None if price is None else Decimal(price))


def test_two_trades_in_one_symbol_are_summed_and_the_rest_is_external() -> None:
    [position] = lay_out([holding(10), holding(-4, pair="AAA/CCC", price="103")], [told("AAA", 9)], {})

    assert (position.ours, position.broker, position.external) == (Decimal(6), Decimal(9), Decimal(3))
    assert position.unrealized_pnl == 10 * 1 + -4 * -2


def test_what_shares_cost_is_told_per_share_of_today() -> None:
    bought = [Bought(TEN, Decimal(90), SLOT), Bought(Decimal(20), Decimal(120), SLOT)]
    tripled, merged = Split(Decimal(3), SLOT + HOUR), Split(Decimal("0.5"), SLOT + 2 * HOUR)

    assert average_price(bought, []) == Decimal(110)
    assert average_price(bought, [tripled]) == Decimal(330) / 9
    assert average_price(bought, [tripled, merged]) == Decimal(660) / 9
    assert average_price([], [tripled]) is None


def test_shares_bought_after_a_split_are_counted_as_they_are() -> None:
    bought = [Bought(-TEN, Decimal(90), SLOT), Bought(Decimal(-30), Decimal(30), SLOT + 2 * HOUR)]

    assert average_price(bought, [Split(Decimal(3), SLOT + HOUR)]) == Decimal(30)


def test_a_symbol_of_somebody_else_is_external_alone() -> None:
    [position] = lay_out([], [told("ZZZ", -5)], {})

    assert (position.ours, position.external, position.unrealized_pnl) == (Decimal(0), Decimal(-5), None)


def test_a_symbol_that_the_broker_does_not_list_is_zero_there() -> None:
    [position] = lay_out([holding()], [], {})

    assert (position.broker, position.external) == (Decimal(0), Decimal(-10))


def test_with_the_broker_away_nothing_is_said_of_the_account_and_the_stored_close_is_the_price() -> None:
    [position] = lay_out([holding()], None, {"AAA": Close(Decimal(98), SLOT)})

    assert (position.broker, position.external) == (None, None)
    assert (position.price, position.price_at, position.unrealized_pnl) == (Decimal(98), SLOT, Decimal(-20))


def test_without_a_price_or_a_cost_no_result_is_invented() -> None:
    [unpriced] = lay_out([holding()], [told("AAA", 10, price=None)], {})
    [uncosted] = lay_out([holding(), holding(price=None)], [told("AAA", 20)], {})

    assert unpriced.unrealized_pnl is None
    assert uncosted.unrealized_pnl is None


@pytest.mark.parametrize(("minute", "kept"), [(0, 0), (14, 0), (15, 15), (44, 30), (59, 45)])
def test_a_snapshot_belongs_to_its_quarter_of_an_hour(minute: int, kept: int) -> None:
    now = datetime(2025, 3, 3, 15, minute, 59, 7, tzinfo=UTC)

    assert snapshot_moment(now) == now.replace(minute=kept, second=0, microsecond=0)


@pytest.mark.parametrize(
    ("name", "known", "external"),
    [("tw-twin-1", False, False), ("tw-twin-1", True, False), ("by-hand", False, True), ("by-hand", True, False)],
)
def test_an_order_is_external_that_is_neither_known_nor_named_like_ours(
    name: str, known: bool, external: bool
) -> None:
    order = report(intent(), "new", client_order_id=name)

    assert is_external(order, {name: intent()} if known else {}, PREFIX) is external


def test_what_agrees_needs_nothing_and_what_differs_says_what_to_do() -> None:
    ours, stray = intent(1, 10), report(intent(2, -8), "new", client_order_id="tw-twin-unknown")
    drifts = [
        Finding(Kind.POSITION_DRIFT, "BBB", "books say -8, the broker says 0"),
        Finding(Kind.UNKNOWN_ORDER, "tw-twin-unknown", "the broker has an order of ours that no intent knows"),
        Finding(Kind.UNREAD, "position", "qty is not a number"),
        Finding(Kind.TRADE, "AAA/BBB", "sent twice without an answer"),
    ]
    positions = lay_out([holding(10), holding(-8, "BBB")], [told("AAA", 10), told("ZZZ", 5)], {})
    manual = report(intent(1, 3), "new", client_order_id="by-hand")

    rows = explain(positions, {ours.client_order_id: ours}, [report(ours, "filled"), stray, manual], drifts, PREFIX)

    verdicts = {row.subject: row.verdict for row in rows}
    assert verdicts == {
        "AAA": "agree",
        "BBB": "differ",
        "ZZZ": "external",
        ours.client_order_id: "agree",
        "tw-twin-unknown": "differ",
        "by-hand": "external",
        "position": "differ",
        "AAA/BBB": "differ",
    }
    assert all(bool(row.advice) == (row.verdict != "agree") for row in rows)


def test_an_entry_order_that_was_never_sent_is_not_sent_once_its_trade_is_given_up() -> None:
    planned = intent(2, -8, OrderState.PLANNED)

    assert next_step(situation(trade(PairTradeState.UNWINDING), planned), RULES) == GiveUp(planned)


def test_an_entry_order_at_the_broker_is_cancelled_at_once_when_its_trade_is_given_up() -> None:
    working = intent(2, -8, OrderState.WORKING, sent_at=SLOT + timedelta(seconds=4))

    assert next_step(situation(trade(PairTradeState.UNWINDING), working), RULES) == Cancel(working)
