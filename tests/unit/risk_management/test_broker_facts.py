"""The list of assets is asked for once a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from src.services.risk_management.adapters.broker_facts import DailyBrokerFacts
from src.shared.domain.orders import AccountReport, AssetReport, PositionReport
from tests.unit.risk_management.examples import account, asset


class CountingBroker:
    """Knows AAA and BBB and writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def account(self) -> AccountReport:
        return account()

    def assets(self, symbols: Sequence[str]) -> dict[str, AssetReport]:
        self.asked.append(tuple(symbols))
        return {symbol: asset(symbol) for symbol in symbols if symbol in ("AAA", "BBB")}

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
