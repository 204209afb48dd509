"""The weekly search as a worker calls it: on a Prefect server and a PostgreSQL, alone and on Dask's workers."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from loguru import logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import select

from src.config.settings import StrategySettings
from src.services.strategy_engine.domain import discovery
from src.shared.domain.sessions import TradingCalendar
from src.shared.infra.database.tables import pair_registry
from src.shared.prefect.flows.strategy_engine.weekly_pair_discovery_flow import weekly_pair_discovery
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
