"""Replay slot after slot: set the market's clock, run the deployment, wait for its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from src.config.settings import Settings
from src.services.cli.demo.plan import Plan, Runner
from src.services.cli.demo.stage import Twin
from src.shared.domain.errors import Terminal
from src.shared.domain.ids import slot_key

FLOW = "intraday-pairs-trading"
DEPLOYMENT = f"{FLOW}/{FLOW}"
# The vendor has the bar a few seconds after it ended.
AFTER_THE_BAR = timedelta(seconds=5)
LONGEST_RUN_SECONDS = 120.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class SlotRun:
    """One flow run: its slot, how it ended by Prefect's word, and how long it took from request to end."""

    slot: datetime
    state: str
    completed: bool
    seconds: float
    message: str


def replay(
    settings: Settings, twin: Twin, plan: Plan, runner: Runner, watch: Callable[[SlotRun], None]
) -> list[SlotRun]:
    """Run the trading flow once for every slot, in order, and tell `watch` of each; stop at one that fails.

    Raises:
        Terminal: a run did not end in time; later slots were not begun.
    """
    from src.shared.prefect.config import prefect_settings

    with prefect_settings(settings), _heartbeats_off():
        return asyncio.run(_replay(twin, plan, _inline if runner == "inline" else _on_a_worker, watch))


async def flow_run_states(settings: Settings) -> dict[str, int]:
    """Count all flow runs on the server by the name of their state."""
    from prefect import get_client

    from src.shared.prefect.config import prefect_settings

    states: dict[str, int] = {}
    with prefect_settings(settings):
        async with get_client() as client:
            offset = 0
            while page := await client.read_flow_runs(limit=200, offset=offset):
                offset += len(page)
                for run in page:
                    states[run.state_name or "?"] = states.get(run.state_name or "?", 0) + 1
    return states


async def _replay(
    twin: Twin,
    plan: Plan,
    run: Callable[[Any, datetime], Awaitable[Any]],
    watch: Callable[[SlotRun], None],
) -> list[SlotRun]:
    from prefect import get_client

    done: list[SlotRun] = []
    async with get_client() as client:
        for slot in plan.slots:
            twin.move_to(slot + AFTER_THE_BAR)
            began = time.monotonic()
            state = await run(client, slot)
            done.append(
                SlotRun(slot, state.name, state.is_completed(), time.monotonic() - began, state.message or "")
            )
            watch(done[-1])
            if not done[-1].completed:
                break
    return done


async def _on_a_worker(client: Any, slot: datetime) -> Any:
    from prefect.deployments import arun_deployment

    # The slot is the key: asking twice for the same one is one run.
    flow_run = await arun_deployment(DEPLOYMENT, timeout=0, idempotency_key=slot_key(slot), as_subflow=False)
    end = time.monotonic() + LONGEST_RUN_SECONDS
    while not (flow_run.state and flow_run.state.is_final()):
        if time.monotonic() > end:
            raise Terminal(
                f"the run for {slot_key(slot)} was still {flow_run.state_name} after {LONGEST_RUN_SECONDS:g} s; "
                "see the worker's log in the demo's folder."
            )
        await asyncio.sleep(_POLL_SECONDS)
        flow_run = await client.read_flow_run(flow_run.id)
    return flow_run.state


async def _inline(client: Any, slot: datetime) -> Any:  # noqa: ARG001
    from src.shared.prefect.flows.strategy_engine.intraday_pairs_trading_flow import intraday_pairs_trading

    return await intraday_pairs_trading(return_state=True)


@contextmanager
def _heartbeats_off() -> Iterator[None]:
    """A run in this process ends with it; nobody has to be told that it is alive."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
