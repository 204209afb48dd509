"""The weekly search as a worker calls it: on a Prefect server and a PostgreSQL, alone and on Dask's workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from distributed import Client
from loguru import logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import select

from src.config.settings import StrategySettings
from src.services.strategy_engine.domain import discovery
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import pair_registry
from src.shared.infra.embedded.ports import free_port
from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.flows.strategy_engine.weekly_pair_discovery_flow import weekly_pair_discovery
from src.shared.prefect.tasks import discovery_tasks
from src.shared.prefect.tasks.discovery_tasks import scan_part
from tests.fakes.desk import SLOT, Installation
from tests.fakes.markets import TWIN_SYMBOLS, twin_closes
from tests.fakes.stored_market import store_closes

ENDS = TradingCalendar().slots_between(SLOT - timedelta(days=252), SLOT)


async def ended(**parameters: Any) -> tuple[str, Any]:
    state = await weekly_pair_discovery(return_state=True, **parameters)
    assert state.is_completed(), state
    return str(state.name), await state.aresult() or state.message


def set_strategy(desk: Installation, strategy: StrategySettings) -> None:
    object.__setattr__(desk.services.settings, "strategy", strategy)


async def artifact(client: PrefectClient, key: str) -> Any:
    found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    newest = max(found, key=lambda each: str(each.created)).data
    return json.loads(newest) if isinstance(newest, str) else newest


def test_what_goes_to_a_worker_can_be_sent_while_the_log_goes_to_a_file(tmp_path: Path) -> None:
    sink = logger.add(tmp_path / "run.log")
    try:
        assert cloudpickle.dumps((scan_part, weekly_pair_discovery))
    finally:
        logger.remove(sink)


async def test_a_search_leaves_its_steps_and_its_pairs_and_is_done_once(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = await ended()
    store_closes(desk.services.engine, TWIN_SYMBOLS, ENDS, twin_closes(ENDS))
    # Several parts, and two workers for them.
    monkeypatch.setattr(discovery, "_SYMBOLS_OF_A_PART", 5)
    alone = desk.services.settings.strategy
    set_strategy(desk, alone.model_copy(update={"discovery_workers": 2}))

    name, summary = await ended()
    again = await ended()
    set_strategy(desk, alone)
    fewer = await ended(symbols=["KELV", "KYLO", "QORT", "QVEL"], observe=1)

    assert nothing[0] == "SKIPPED" and "No hourly bars are stored" in nothing[1]
    assert (name, summary["symbols"], summary["pairs"], summary["passed"]) == ("Completed", 14, 91, 4)
    assert again == ("ALREADY_DONE", summary)
    assert (fewer[0], fewer[1]["pairs"], fewer[1]["observed"]) == ("Completed", 6, [])
    assert await artifact(client, "discovery-progress") == 100.0
    steps = {row["step"]: (row["came"], row["fell"]) for row in await artifact(client, "discovery-steps")}
    assert steps["symbols"] == (4, 0) and steps["sessions"] == (6, 0) and steps["gate"] == (2, 0)
    assert [row["outcome"] for row in await artifact(client, "discovery-pairs")] == ["known", "known"]
    with desk.services.engine.connect() as connection:
        modes = dict(connection.execute(select(pair_registry.c.pair_id, pair_registry.c.mode)).tuples().all())
    assert {pair: mode for pair, mode in modes.items() if mode == "observe"}.keys() == set(summary["observed"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Start a scheduler and a worker of Dask as one does on other machines; give the scheduler's address."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = Path(sys.executable).with_name("dask")
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWINDS")}
    quiet: dict[str, Any] = {"env": theirs | {"PYTHONPATH": str(SOURCE_ROOT)}, "cwd": tmp_path}
    with (tmp_path / "dask.log").open("wb") as log, ExitStack() as running:
        quiet |= {"stdout": log, "stderr": log}
        for words in (
            ["scheduler", "--host", address, "--no-dashboard"],
            ["worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard"],
        ):
            process = subprocess.Popen([dask, *words], **quiet)
            running.callback(process.wait)
            running.callback(process.terminate)
        yield address


async def test_parts_are_scanned_by_the_workers_of_a_scheduler_elsewhere(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch, cluster: str
) -> None:
    store_closes(desk.services.engine, TWIN_SYMBOLS, ENDS, twin_closes(ENDS))
    monkeypatch.setattr(discovery, "_SYMBOLS_OF_A_PART", 5)
    chosen = {"discovery_dask_scheduler": cluster}
    set_strategy(desk, desk.services.settings.strategy.model_copy(update=chosen))

    name, summary = await ended()

    with Client(cluster, timeout=30) as asked:  # type: ignore[no-untyped-call]
        done = asked.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    assert (name, summary["symbols"], summary["pairs"], summary["passed"]) == ("Completed", 14, 91, 4)
    assert done > 0


async def test_a_scheduler_that_is_away_is_named_with_its_setting(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_closes(desk.services.engine, TWIN_SYMBOLS, ENDS, twin_closes(ENDS))
    monkeypatch.setattr(discovery_tasks, "_SCHEDULER_SECONDS", 0.2)
    chosen = {"discovery_dask_scheduler": f"tcp://127.0.0.1:{free_port()}"}
    set_strategy(desk, desk.services.settings.strategy.model_copy(update=chosen))

    state = await weekly_pair_discovery.with_options(retries=0)(return_state=True)

    assert state.is_failed()
    assert "No scheduler of Dask answers: start one, or correct TRADEWINDS_STRATEGY_DISCOVERY_DASK" in str(
        state.message
    )
