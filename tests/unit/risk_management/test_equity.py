"""Equity without deposits and withdrawals: whatever comes or goes, drawdown and the day's loss stay as they were."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.risk_management.domain.equity import CashFlow, DayStart, EquityPoint, equity_history, restated
from src.services.risk_management.domain.metrics import MIN_RETURNS, measure
from src.services.risk_management.domain.state import EquityHistory
from tests.unit.risk_management.examples import NOW, SLOT

START = SLOT - timedelta(hours=12)
MIDNIGHT = START + timedelta(hours=4)
CLOSE = START + timedelta(hours=2, minutes=30)


def at(i: int) -> datetime:
    return START + timedelta(hours=i)


def points(*equity: float | Decimal) -> list[EquityPoint]:
    return [EquityPoint(at(i), Decimal(str(value))) for i, value in enumerate(equity)]


def flow(amount: float | Decimal, i: int, name: str = "a") -> CashFlow:
    """Make a flow between point i and i + 1."""
    moment = at(i) + timedelta(minutes=30)
    return CashFlow(name, "CSD", Decimal(str(amount)), moment, moment)


def some_time_today(amount: float, name: str = "a") -> CashFlow:
    return CashFlow(name, "CSD", Decimal(str(amount)), START, START + timedelta(hours=24))


def history(series: list[EquityPoint], *flows: CashFlow, told: int | None = None) -> EquityHistory:
    """Look back from the last point; the session before closed between point 2 and point 3."""
    day = DayStart(MIDNIGHT, CLOSE, None if told is None else Decimal(told))
    return equity_history(series[:-1], flows, series[-1], day, None)


returns = st.lists(st.decimals("-0.05", "0.05", places=4), min_size=6, max_size=11)


@given(returns, st.integers(0, 10), st.decimals("-0.95", "50", places=3))
def test_a_flow_of_any_size_at_any_time_changes_neither_drawdown_nor_daily_loss(
    moves: list[Decimal], when: int, size: Decimal
) -> None:
    """The same returns with and without it; between the two points around the flow, trading earns nothing."""
    when %= len(moves)
    moves[when] = Decimal(0)
    plain = points(*accumulate(moves, lambda equity, move: equity * (1 + move), initial=Decimal(100_000)))
    amount = plain[when].equity * size
    moved = [p if i <= when else EquityPoint(p.at, p.equity * (1 + size)) for i, p in enumerate(plain)]

    without, with_flow = history(plain), history(moved, flow(amount, when))

    assert abs(with_flow.drawdown - without.drawdown) < Decimal("1e-9")
    assert abs(with_flow.daily_loss - without.daily_loss) < Decimal("1e-9")


@pytest.mark.parametrize("amount", [Decimal(-99_999), Decimal(-500), Decimal(1), Decimal(10_000_000)])
def test_a_flow_whose_hour_nobody_knows_is_found_by_the_jump_it_made(amount: Decimal) -> None:
    series = points(100_000, 100_000, 100_000 + amount, 100_000 + amount)

    assert history(series, some_time_today(float(amount))).drawdown == 0
    assert history(series, some_time_today(float(amount))).daily_loss == 0


def test_a_loss_beside_a_withdrawal_is_still_a_loss() -> None:
    found = history(points(100_000, 60_000, 57_000), some_time_today(-40_000))

    assert (found.peak, found.drawdown) == (Decimal(60_000), Decimal("0.05"))


def test_a_deposit_hides_no_loss() -> None:
    found = history(points(100_000, 90_000, 140_000), some_time_today(50_000))

    assert abs(found.drawdown - Decimal("0.1")) < Decimal("1e-9")


def test_a_flow_that_is_not_in_the_equity_yet_makes_no_loss() -> None:
    found = history(points(100_000, 100_000, 100_000), some_time_today(50_000))

    assert found.drawdown == found.daily_loss == 0


def test_without_flows_the_points_stay_as_they_are() -> None:
    series = points(1, 3, 2)

    assert restated(series, []) == series


def test_an_account_that_stood_at_zero_begins_anew() -> None:
    series = points(100_000, 0, 50_000, 49_000)

    assert [point.equity for point in restated(series, [flow(-100_000, 0), flow(50_000, 1, "b")])] == [50_000, 49_000]


def test_only_a_flow_that_emptied_or_filled_the_account_begins_it_anew() -> None:
    lost_all, emptied = points(100_000, 99_000, -200), points(100_000, 0, 0)

    assert history(lost_all).peak == 100_000
    assert history(lost_all).drawdown > 1
    assert history(lost_all, flow(-5_000, 1)).drawdown > 1
    assert history(emptied, flow(-99_900, 0)).drawdown == 0


@pytest.mark.parametrize("false", [0, -1])
def test_a_false_reading_of_nothing_hides_no_loss(false: int) -> None:
    found = history(points(100_000, 96_500, false, 94_000))
    at_the_start = history(points(100_000, 100_000, 100_000, false, false, 96_500, 94_000))

    assert found.drawdown == Decimal("0.06")
    assert at_the_start.day_start == 96_500
    assert history(points(100_000, 0, 94_000), flow(100, 1)).drawdown == Decimal("0.06")


@pytest.mark.parametrize(
    ("series", "told", "day_start"),
    [
        # The first two are of the day before, in session; the last, where there are four, after its close.
        (points(100_000, 99_000)[:2], 98_000, 98_000),
        (points(100_000, 99_000)[:2], None, 96_000),
        (points(100_000, 99_000, 98_500, 97_500), 98_000, 97_500),
        (points(100_000, 99_000, 98_500, 97_500), None, 97_500),
        (points(100_000, 99_000, 98_500, 0), 98_000, 98_000),
    ],
)
def test_a_days_loss_counts_from_the_close_of_the_session_before(
    series: list[EquityPoint], told: int | None, day_start: int
) -> None:
    today = [EquityPoint(at(10), Decimal(96_000)), EquityPoint(at(11), Decimal(95_000))]

    found = history([*series, *today], told=told)

    assert (found.day_start, found.peak) == (Decimal(day_start), Decimal(100_000))


@pytest.mark.parametrize("amount", [50_000, -50_000])
def test_money_that_moved_since_the_close_is_no_loss_of_the_day(amount: int) -> None:
    """It moved overnight, and between two readings of the day."""
    for series in (
        [*points(100_000), *points(*[0] * 9, 100_000 + amount, 98_000 + amount)[9:]],
        [*points(100_000), *points(*[0] * 9, 100_000, 100_000 + amount, 98_000 + amount)[9:]],
    ):
        found = history(series, some_time_today(amount), told=100_000)

        assert found.day_start == 100_000 + amount


def test_what_the_broker_told_of_the_close_makes_no_peak() -> None:
    assert history(points(100_000, 100_000), told=150_000).peak == 100_000


def test_booking_an_unrealised_loss_changes_nothing_because_equity_holds_both() -> None:
    """The broker's equity is the same before and after a losing trade is closed: nothing is added to it."""
    open_loss, booked_loss = history(points(100_000, 96_000)), history(points(100_000, 96_000, 96_000))

    assert (open_loss.drawdown, open_loss.daily_loss) == (booked_loss.drawdown, Decimal(0))
    assert open_loss.drawdown == Decimal("0.04")


def test_too_few_days_measure_nothing() -> None:
    few = [EquityPoint(NOW + timedelta(days=i), Decimal(100)) for i in range(MIN_RETURNS)]

    assert (measure(few).volatility, measure(few).value_at_risk) == (None, None)


def test_a_false_reading_of_nothing_is_no_return() -> None:
    steady = [EquityPoint(NOW + timedelta(days=i), Decimal(100)) for i in range(MIN_RETURNS + 1)]
    broken = [*steady[:5], EquityPoint(steady[5].at, Decimal(0)), *steady[6:]]

    assert measure([*broken, EquityPoint(NOW + timedelta(days=MIN_RETURNS + 1), Decimal(100))]) == measure(steady)


def test_the_value_at_risk_is_the_loss_of_the_worst_days() -> None:
    equity, days = Decimal(100_000), []
    for i in range(101):
        equity *= Decimal("0.98") if i % 10 == 0 else Decimal("1.001")
        days.append(EquityPoint(NOW + timedelta(days=i), equity))

    found = measure(days)

    assert found.days == 101
    assert found.volatility == pytest.approx(0.1015, abs=0.0005)
    assert found.value_at_risk == pytest.approx(0.02)
