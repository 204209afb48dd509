"""What a broker says of the positions in some symbols. The same tests for the broker in memory and for the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr

from src.services.execution.ports import TradingBroker
from src.shared.domain.errors import Transient
from src.shared.domain.orders import PositionReport
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.rate_limit import MinuteLimiter
from tests.fakes.broker import FakeBroker
from tests.fakes.twin_server import running_twin

START = datetime(2025, 3, 3, 15, 30, 5, tzinfo=UTC)
FIRST, SECOND, THIRD = "KELV", "KYLO", "QVEL"
HELD = {FIRST: 5, SECOND: -4}


@dataclass(frozen=True)
class Account:
    """A broker whose account holds `HELD`, and what makes the row of one of its symbols unreadable."""

    broker: TradingBroker
    spoil: Callable[[str], object]


@pytest.fixture(params=["in memory", "twin"])
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    if request.param == "in memory":
        fake = FakeBroker(external={symbol: Decimal(shares) for symbol, shares in HELD.items()})
        yield Account(fake, fake.unreadable.add)
        return
    with running_twin(clock=START.isoformat()) as twin:
        endpoints = Endpoints(twin.url, twin.url, SecretStr("TWIN"), SecretStr("twin"), 1.0, 5.0)
        client = AlpacaClient(endpoints, MinuteLimiter(10_000))
        for symbol, shares in HELD.items():
            client.submit_market_order(f"hold-{symbol}", symbol, Decimal(shares))
        twin.admin.move_clock((START + timedelta(minutes=1)).isoformat())
        rows = [report.symbol for report in client.positions()]

        def spoil(symbol: str) -> None:
            twin.admin.fault(
                kind="extra", endpoint="GET /v2/positions", row=rows.index(symbol), set={"qty": "x"}, times=9
            )

        yield Account(client, spoil)


def test_positions_in_some_symbols_are_those_and_no_others(account: Account) -> None:
    assert account.broker.positions_in([FIRST, THIRD]) == [PositionReport(FIRST, Decimal(5), _price(account, FIRST))]
    assert account.broker.positions_in([THIRD]) == []


def test_positions_are_not_told_without_a_row_of_theirs_that_can_not_be_read(account: Account) -> None:
    account.spoil(FIRST)

    with pytest.raises(Transient):
        account.broker.positions_in([FIRST, SECOND])

    assert {row.kind for row in account.broker.take_quarantined()} == {"position"}


def test_positions_are_told_where_the_row_of_another_symbol_can_not_be_read(account: Account) -> None:
    account.spoil(FIRST)

    (held,) = account.broker.positions_in([SECOND, THIRD])

    assert (held.symbol, held.quantity) == (SECOND, Decimal(-4))
    assert {row.kind for row in account.broker.take_quarantined()} == {"position"}


def _price(account: Account, symbol: str) -> Decimal | None:
    return next(report.price for report in account.broker.positions() if report.symbol == symbol)
