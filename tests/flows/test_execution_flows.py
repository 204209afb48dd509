"""The flows of execution as a worker calls them: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from sqlalchemy import select

from src.config.settings import Settings, load_settings
from src.shared.domain.errors import InputInvalid, Refused, Transient
from src.shared.domain.ids import slot_key
from src.shared.domain.risk import RiskState
from src.shared.domain.signals import SignalAction
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.tables import consumed_event, position_snapshot
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.messages.risk import TradeApproved
from src.shared.prefect.bridge import run_bridge
from src.shared.prefect.deployments import adeploy
from src.shared.prefect.flows.execution import execute_trades_flow
from src.shared.prefect.flows.execution.execute_trades_flow import execute_trades
from src.shared.prefect.flows.execution.manage_orders_flow import manage_orders
from src.shared.prefect.flows.execution.reconcile_trades_flow import reconcile_trades
from src.shared.prefect.flows.execution.update_positions_flow import update_positions
from tests.fakes.desk import AFTER_HOURS, FIRST, NEXT_OPEN, SECOND, SLOT, Installation
from tests.fakes.events import example
from tests.flows.conftest import eventually

OPENED = [(SECOND, -4), (FIRST, 5)]


async def ended(flow: Any, **parameters: Any) -> str:
    state = await flow(return_state=True, **parameters)
    assert state.is_completed(), state
    return str(state.name)


async def test_execute_trades_acts_on_each_approval_once(client: PrefectClient, desk: Installation) -> None:
    desk.approve(SignalAction.ENTER_LONG)

    names = [await ended(execute_trades), await ended(execute_trades), await ended(execute_trades, slot=SLOT)]

    assert names == ["Completed", "ALREADY_DONE", "ALREADY_DONE"]
    assert desk.orders() == OPENED
    assert desk.states() == ["open"]


async def test_approvals_of_a_slot_start_one_run_that_trades_them(
    client: PrefectClient,
    desk: Installation,
    settings: Settings,
    embedded_redis: EmbeddedRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await adeploy(settings, only=["execute-trades"])
    monkeypatch.setenv("TRADEWINDS_PREFECT_API_URL", settings.prefect_api_url)
    monkeypatch.setenv("TRADEWINDS_PREFECT_EVENT_WINDOW_SECONDS", "900")
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", embedded_redis.url())
    stop = threading.Event()
    bridge = threading.Thread(target=run_bridge, args=(load_settings(), stop), daemon=True)
    bridge.start()
    bus = RedisBus(embedded_redis.url())
    try:
        with SqlUnitOfWork(desk.services.engine, lambda connection: connection)() as work:
            for approved in ("a", "b"):
                work.record(example(TradeApproved, approved).model_copy(update={"correlation_id": slot_key(SLOT)}))
            work.commit()
        OutboxRelay(desk.services.engine, bus).drain()
        await eventually(partial(handled, desk, 2))
    finally:
        stop.set()
        await asyncio.to_thread(bridge.join, 30)
        bus.close()

    deployment = await client.read_deployment_by_name("execute-trades/execute-trades")
    of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
    [run] = await client.read_flow_runs(flow_run_filter=of_it)
    assert run.idempotency_key is not None
    assert run.idempotency_key.startswith("twin TradeApproved 2025-03-03T15:30Z ")
    assert run.expected_start_time is not None
    assert run.expected_start_time > datetime.now(UTC)
    desk.approve(SignalAction.ENTER_LONG)
    assert await ended(execute_trades, **execute_trades.validate_parameters(run.parameters)) == "Completed"
    assert desk.orders() == OPENED


async def handled(desk: Installation, count: int) -> bool:
    with desk.services.engine.connect() as connection:
        return len(connection.execute(select(consumed_event)).all()) == count


async def test_execute_trades_does_nothing_while_closed_or_halted(client: PrefectClient, desk: Installation) -> None:
    desk.approve(SignalAction.ENTER_LONG)
    desk.services.kill_switch.set_state(RiskState.HALTED, "ada", "news", SLOT)
    halted = await ended(execute_trades)
    desk.move_to(AFTER_HOURS)

    assert (halted, await ended(execute_trades)) == ("HALTED", "MARKET_CLOSED")
    assert desk.orders() == []


async def test_an_entry_of_an_earlier_slot_is_given_up_and_not_sent(
    client: PrefectClient, desk: Installation
) -> None:
    desk.approve(SignalAction.ENTER_LONG)
    desk.move_to(NEXT_OPEN)

    assert await ended(execute_trades, slot=SLOT) == "Completed"
    assert desk.states() == ["abandoned"]
    assert desk.orders() == []


@pytest.mark.parametrize("error", [Refused("keys", "40110000"), InputInvalid("limits contradict"), Transient("away")])
async def test_an_approved_exit_is_sent_whatever_becomes_of_the_review(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    desk.open_trade()
    desk.move_to(SLOT + timedelta(hours=1, seconds=5))
    desk.approve(SignalAction.EXIT, slot=SLOT + timedelta(hours=1))

    async def fails(_: Any) -> None:
        raise error

    monkeypatch.setattr(execute_trades_flow, "review_slot", fails)
    state = await execute_trades.with_options(retries=0)(return_state=True)

    assert state.is_failed()
    assert desk.states() == ["closed"]
    assert desk.held() == {}


async def test_positions_are_stored_once_for_each_quarter_of_an_hour(
    client: PrefectClient, desk: Installation
) -> None:
    desk.open_trade()
    desk.twin.order_by_hand("QVEL", 7)

    names = [await ended(update_positions), await ended(update_positions)]
    desk.move_to(AFTER_HOURS)

    assert [*names, await ended(update_positions)] == ["Completed", "ALREADY_DONE", "MARKET_CLOSED"]
    with desk.services.engine.connect() as connection:
        stored = connection.execute(select(position_snapshot)).all()
    assert {(row.taken_at, row.symbol, int(row.ours), int(row.broker)) for row in stored} == {
        (SLOT, FIRST, 5, 5),
        (SLOT, SECOND, -4, -4),
        (SLOT, "QVEL", 0, 7),
    }
    assert all(row.price is not None for row in stored)


async def test_the_other_flows_leave_finished_work_alone(client: PrefectClient, desk: Installation) -> None:
    desk.open_trade()

    names = [await ended(manage_orders), await ended(reconcile_trades), await ended(execute_trades)]

    assert names == ["Completed", "Completed", "ALREADY_DONE"]
    assert desk.orders() == OPENED
