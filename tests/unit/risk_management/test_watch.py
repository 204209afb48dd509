"""Watching the portfolio, on fakes: readings, usage, alerts once a day, and the state a loss calls for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from src.services.risk_management.domain.equity import CashFlow
from src.services.risk_management.domain.review import OpenTrade
from src.services.risk_management.ports import PairFit
from src.services.risk_management.use_cases.review import CASH_FLOW_SEEN
from src.services.risk_management.use_cases.watch import PortfolioWatch
from src.shared.domain.errors import InputInvalid
from src.shared.domain.orders import AccountReport
from src.shared.domain.risk import RiskState
from tests.fakes.risk_store import FakeBrokerFacts, FakeRiskRepository, FakeRiskStore
from tests.unit.risk_management.examples import (
    CALENDAR,
    CLOSE,
    NOW,
    SEED,
    SLOT,
    account,
    closed_trades,
    unrelated_closes,
)

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
YESTERDAY = SLOT - timedelta(days=1)


def watch(
    equity: str | AccountReport = "100000", flows: list[CashFlow] | None = None, **facts: object
) -> PortfolioWatch:
    report = account(equity) if isinstance(equity, str) else equity
    repo = FakeRiskRepository(series=unrelated_closes(SYMBOLS), **facts)  # type: ignore[arg-type]
    return PortfolioWatch(FakeRiskStore(repo), FakeBrokerFacts(report, flows=flows or []), CALENDAR, SEED)


def repo(of: PortfolioWatch) -> FakeRiskRepository:
    assert isinstance(of.store, FakeRiskStore)
    return of.store.repo


def trade(pair: str = "AAA/BBB", shares: int = 100) -> OpenTrade:
    first, second = pair.split("/")
    return OpenTrade(pair, SLOT, first, second, Decimal(shares), Decimal(-shares))


def test_exposure_and_losses_are_measured_against_the_limits_in_force() -> None:
    watched = watch("97000", trades=[trade(), trade("CCC/AAA", 50)], points={SLOT: Decimal(100_000)}, orders=(2, 40))

    look = watched.look(NOW)
    used = {usage.name: usage for usage in look.usages}

    assert used["max_open_pairs"].used == 2
    assert used["max_symbol_fraction"].subject == "AAA"
    assert used["max_pair_fraction"].subject == "AAA/BBB"
    assert used["max_daily_loss_fraction"].used == used["max_drawdown_fraction"].used == Decimal("0.03")
    assert [usage.name for usage in look.breached] == ["max_daily_loss_fraction"]
    assert look.portfolio.gross == sum(look.portfolio.by_symbol().values())
    assert repo(watched).state.state is RiskState.ACTIVE


def test_monitoring_reduces_the_account_and_leaves_the_slots_first_word_alone() -> None:
    watched = watch("96000", points={SLOT: Decimal(100_000)})

    look = watched.monitor(NOW)
    watched.monitor(NOW)

    assert look.portfolio.standing.state is repo(watched).state.state is RiskState.REDUCING
    assert repo(watched).points == {SLOT: Decimal(100_000)}
    assert [reading.equity for reading in repo(watched).readings] == [Decimal(96_000)]
    assert [type(event).__name__ for event in repo(watched).told] == ["RiskStateChanged"]


@pytest.mark.parametrize("equity", ["0", "-200"])
def test_an_account_that_lost_everything_is_reduced(equity: str) -> None:
    watched = watch(equity, points={YESTERDAY: Decimal(100_000)})

    assert watched.monitor(NOW).portfolio.standing.state is RiskState.REDUCING
    assert watched.look(NOW).portfolio.standing.why.startswith("DRAWDOWN")


def test_an_overnight_gap_is_a_loss_of_the_day() -> None:
    before = YESTERDAY.replace(hour=20, minute=45)
    watched = watch(account("96500", last_equity="100000"), points={before: Decimal(100_000)})

    assert watched.monitor(NOW).portfolio.equity.daily_loss == Decimal("0.035")
    assert repo(watched).state.why.startswith("DAILY_LOSS")


def test_what_the_broker_calls_the_last_close_counts_in_session_alone() -> None:
    """When it goes over to the close of the day, it does not say."""
    watched = watch(account("96500", last_equity="100000"), points={SLOT: Decimal(97_000)})

    in_session, after = watched.look(CLOSE - timedelta(seconds=1)), watched.look(CLOSE)

    assert in_session.portfolio.equity.day_start == 100_000
    assert after.portfolio.equity.day_start == 97_000


def test_a_reading_between_the_slots_can_be_the_peak() -> None:
    watched = watch("110000", points={YESTERDAY: Decimal(100_000)})
    watched.monitor(NOW)

    fallen = replace(watched, broker=FakeBrokerFacts(account("104000"))).look(NOW + timedelta(minutes=15))

    assert fallen.portfolio.equity.peak == 110_000


@pytest.mark.parametrize("dollars", ["-50000", "50000"])
def test_money_in_or_out_is_no_result_and_is_noted_once(dollars: str) -> None:
    flow = CashFlow("f", "CSD", Decimal(dollars), NOW - timedelta(hours=12), NOW + timedelta(hours=12))
    watched = watch(str(100_000 + int(dollars)), [flow], points={SLOT: Decimal(100_000)})

    look = watched.monitor(NOW)
    watched.monitor(NOW + timedelta(minutes=15))

    assert look.portfolio.equity.drawdown == look.portfolio.equity.daily_loss == 0
    assert look.portfolio.standing.state is RiskState.ACTIVE
    assert [note.subject for note in repo(watched).notes if note.what == CASH_FLOW_SEEN] == ["f"]


@pytest.mark.parametrize("days_ago", [5, 12, 200])
@pytest.mark.parametrize(
    ("dollars", "equity", "drawdown", "state"),
    [("50000", "135000", "0.1", RiskState.REDUCING), ("-20000", "80000", "0", RiskState.ACTIVE)],
)
def test_money_that_moved_while_nothing_ran_is_found_however_long_ago(
    days_ago: int, dollars: str, equity: str, drawdown: str, state: RiskState
) -> None:
    moved = NOW - timedelta(days=days_ago)
    flow = CashFlow("f", "CSD", Decimal(dollars), moved - timedelta(hours=12), moved + timedelta(hours=12))
    watched = watch(equity, [flow], points={moved - timedelta(days=2): Decimal(100_000)})

    look = watched.monitor(NOW)

    assert abs(look.portfolio.equity.drawdown - Decimal(drawdown)) < Decimal("1e-9")
    assert look.portfolio.standing.state is state


def test_an_alert_is_told_once_a_day_and_the_gravest_first() -> None:
    watched = watch("94000", points={YESTERDAY: Decimal(100_000)}, trades=[trade(shares=9000)])
    look = watched.monitor(NOW)

    first, again = watched.raise_alerts(look), watched.raise_alerts(look)

    assert [alert.severity for alert in first][:2] == ["error", "error"]
    assert {alert.about for alert in first} >= {"max_drawdown_fraction", "max_gross_fraction", "state reducing 1"}
    assert again == []
    tomorrow = watched.look(NOW + timedelta(days=1))
    assert "max_drawdown_fraction" in {alert.about for alert in watched.raise_alerts(tomorrow)}


def test_one_limit_broken_by_another_pair_is_told_of_that_pair_too_and_other_numbers_are_no_news() -> None:
    told = []
    for pair, shares in (("AAA/BBB", 9000), ("AAA/BBB", 9500), ("CCC/DDD", 9000)):
        watched = watch(trades=[trade(pair, shares)])
        pairs = [alert for alert in watched.raise_alerts(watched.look(NOW)) if "max_pair" in alert.about]
        told += [alert.id(watched.look(NOW).portfolio) for alert in pairs]

    assert len(told) == 3
    assert len(set(told)) == 2


def test_what_is_mild_is_told_only_when_asked_for() -> None:
    watched = watch(orders=(0, 450))
    look = watched.look(NOW)

    assert watched.raise_alerts(look) == []
    assert [alert.title for alert in watched.raise_alerts(look, "info")] == ["max_orders_per_day is nearly used up"]


def test_a_held_symbol_without_a_price_is_told() -> None:
    watched = watch(trades=[trade("AAA/ZZZ")])

    assert [alert.detail for alert in watched.raise_alerts(watched.look(NOW))] == ["no recent close for ZZZ"]


def test_without_equity_any_holding_is_too_much_and_nothing_divides_by_zero() -> None:
    watched = watch("0", trades=[trade()])

    assert "max_gross_fraction" in [usage.name for usage in watched.look(NOW).breached]


def test_a_size_is_told_with_its_numbers_and_stores_no_decision() -> None:
    fit = PairFit("AAA/BBB", "AAA", "BBB", 1.0)
    watched = watch(fits={"AAA/BBB": fit}, results={"AAA/BBB": closed_trades(12, 8)})

    sized = watched.size("AAA/BBB", NOW)

    assert (sized.size.code, sized.size.numbers["basis"]) == (None, "half_kelly")
    assert sized.size.quantity_1 > 0 > sized.size.quantity_2
    assert repo(watched).stored == []


@pytest.mark.parametrize("pair", ["AAA/BBB", "AAA", "AAA/AAA", "aaa/bbb"])
def test_a_pair_that_is_none_has_no_size(pair: str) -> None:
    with pytest.raises(InputInvalid):
        watch().size(pair, NOW)
