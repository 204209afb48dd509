"""The flows of risk management as a worker calls them: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import func, insert, select

from src.shared.domain.errors import InputInvalid, Refused, Unreachable
from src.shared.domain.orders import MarketClock
from src.shared.domain.risk import RiskState
from src.shared.infra.database.tables import alert, equity_point, pair_trade, portfolio_reading, risk_decision
from src.shared.prefect.flows.risk_management import calculate_position_size_flow
from src.shared.prefect.flows.risk_management.calculate_position_size_flow import calculate_position_size
from src.shared.prefect.flows.risk_management.generate_risk_alerts_flow import generate_risk_alerts
from src.shared.prefect.flows.risk_management.monitor_portfolio_risk_flow import monitor_portfolio_risk
from src.shared.prefect.flows.risk_management.validate_risk_limits_flow import validate_risk_limits
from tests.fakes.desk import AFTER_HOURS, FIRST, PAIR, SECOND, SLOT, Installation


async def ended(flow: Any, **parameters: Any) -> tuple[str, dict[str, Any]]:
    state = await flow(return_state=True, **parameters)
    assert state.is_completed(), state
    return str(state.name), await state.aresult()


def count(desk: Installation, table: Any) -> int:
    with desk.services.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def lose_a_tenth(desk: Installation) -> None:
    """Let a reading of the weekend have known a larger equity than the twin's 100,000."""
    values = {
        "slot": SLOT,
        "taken_at": SLOT - timedelta(days=1),
        "equity": 111_000,
        "cash": 111_000,
        "buying_power": 111_000,
    }
    with desk.services.engine.begin() as connection:
        connection.execute(insert(equity_point).values(values))


async def test_a_pair_is_sized_from_stored_closes_and_nothing_is_stored(
    client: PrefectClient, desk: Installation
) -> None:
    desk.services.ingestion.fetch_bars([FIRST, SECOND], SLOT, 20)

    found = [await ended(calculate_position_size, pair=PAIR) for _ in range(2)]

    assert found[0] == found[1]
    name, size = found[0]
    assert (name, size["pair"], size["outcome"]) == ("Completed", PAIR, "sized")
    assert Decimal(size["quantity_1"]) > 0 > Decimal(size["quantity_2"])
    assert (count(desk, pair_trade), count(desk, risk_decision)) == (0, 0)
    assert desk.orders() == []


async def test_an_unknown_pair_fails_at_once_with_one_line(client: PrefectClient, desk: Installation) -> None:
    state = await calculate_position_size(pair="KELV/NONE", return_state=True)

    assert state.state_details.flow_run_id is not None
    run = await client.read_flow_run(state.state_details.flow_run_id)
    assert run.state is not None
    assert run.state.name == "Failed"
    assert run.state.message == "KELV/NONE is not registered: see `tradewinds pairs add`."
    assert run.run_count == 1
    with pytest.raises(InputInvalid):
        await calculate_position_size(pair="KELV/NONE")


async def test_what_another_try_may_mend_is_tried_again(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.services.ingestion.fetch_bars([FIRST, SECOND], SLOT, 20)
    away: list[Exception] = [Unreachable("PostgreSQL does not answer"), Refused("not now", "50010000")]

    async def clock() -> MarketClock:
        if away:
            raise away.pop()
        return desk.services.execution.cycle.market_clock()

    monkeypatch.setattr(calculate_position_size_flow, "read_market_clock", clock)
    patient = calculate_position_size.with_options(retries=2, retry_delay_seconds=0)
    name, size = await ended(patient, pair=PAIR)

    assert (name, size["outcome"]) == ("Completed", "sized")
    assert away == []


async def test_limits_that_are_kept_complete_and_a_breached_one_degrades(
    client: PrefectClient, desk: Installation
) -> None:
    kept = await ended(validate_risk_limits)
    lose_a_tenth(desk)
    name, summary = await ended(validate_risk_limits)

    assert kept == ("Completed", {"checked": 10, "breached": [], "state": "active"})
    assert name == "DEGRADED"
    assert summary["breached"] == ["max_daily_loss_fraction", "max_drawdown_fraction"]
    assert desk.services.kill_switch.standing().state is RiskState.ACTIVE


async def test_the_monitor_reduces_the_account_once_and_rests_while_the_market_is_closed(
    client: PrefectClient, desk: Installation
) -> None:
    lose_a_tenth(desk)
    first, again = await ended(monitor_portfolio_risk), await ended(monitor_portfolio_risk)
    desk.move_to(AFTER_HOURS)
    state = await monitor_portfolio_risk(return_state=True)

    assert (first[0], first[1]["state"], first[1]["alerts"] > 0) == ("DEGRADED", "reducing", True)
    assert (again[0], again[1]["state"], again[1]["alerts"]) == ("DEGRADED", "reducing", 0)
    assert state.name == "MARKET_CLOSED"
    assert count(desk, portfolio_reading) == 1
    assert [what for _, what, _, _ in desk.audits()].count("risk state changed") == 1


async def test_an_alert_is_told_once_a_day_and_quiet_books_tell_nothing(
    client: PrefectClient, desk: Installation
) -> None:
    quiet = await ended(generate_risk_alerts)
    lose_a_tenth(desk)
    told, again = await ended(generate_risk_alerts), await ended(generate_risk_alerts)

    assert quiet == ("Completed", {"told": [], "state": "active"})
    assert len(told[1]["told"]) == count(desk, alert) > 0
    assert again[1]["told"] == []
