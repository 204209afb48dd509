"""The list of assets is asked for once a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from src.services.risk_management.adapters.broker_facts import DailyBrokerFacts
from src.services.risk_management.domain.equity import CashFlow
from src.shared.domain.corporate_actions import AccountActivity
from src.shared.domain.orders import AccountReport, AssetReport, PositionReport
from tests.unit.risk_management.examples import account, asset


def activity(name: str, kind: str, dollars: str, status: str) -> AccountActivity:
    return AccountActivity(name, kind, date(2026, 11, 18), Decimal(dollars), None, None, None, "", status)


class CountingBroker:
    """Knows AAA and BBB and writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def account(self) -> AccountReport:
        return account()

    def assets(self, symbols: Sequence[str]) -> dict[str, AssetReport]:
        self.asked.append(tuple(symbols))
        return {symbol: asset(symbol) for symbol in symbols if symbol in ("AAA", "BBB")}

    def account_activities(self, kinds: Sequence[str], since: datetime) -> list[AccountActivity]:
        moved = [("a", "CSD", "250.5", "executed"), ("b", "CSW", "-100", "canceled"), ("c", "DIV", "3", "executed")]
        return [activity(*each) for each in moved if each[1] in kinds]

    def positions(self) -> list[PositionReport]:
        return []


def test_a_symbol_is_asked_for_once_a_day_unless_the_broker_did_not_know_it() -> None:
    broker = CountingBroker()
    facts = DailyBrokerFacts(broker)

    assert set(facts.assets(["AAA", "ZZZ"], date(2026, 11, 18))) == {"AAA"}
    assert set(facts.assets(["AAA", "BBB", "ZZZ"], date(2026, 11, 18))) == {"AAA", "BBB"}
    facts.assets(["AAA", "BBB"], date(2026, 11, 18))
    facts.assets(["AAA"], date(2026, 11, 19))

    assert broker.asked == [("AAA", "ZZZ"), ("BBB", "ZZZ"), ("AAA",)]


def test_a_deposit_may_have_come_at_any_time_of_its_new_york_day_and_dividends_are_results() -> None:
    midnight = datetime(2026, 11, 18, 5, tzinfo=UTC)

    flows = DailyBrokerFacts(CountingBroker()).cash_flows(midnight)

    assert flows == [CashFlow("a", "CSD", Decimal("250.5"), midnight, midnight.replace(day=19))]
