"""The evening's review of pairs as a worker calls it: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import PrefectClient
from sqlalchemy import update

from src.shared.infra.database.tables import pair_registry
from src.shared.prefect.flows.strategy_engine.review_pairs_flow import review_pairs
from tests.fakes.desk import AFTER_HOURS, PAIR, Installation


async def reviewed() -> tuple[str, dict[str, Any]]:
    state: Any = await review_pairs(return_state=True)
    assert state.is_completed(), state
    found: dict[str, Any] = await state.aresult()
    return str(state.name), found


async def test_the_review_ends_what_is_closing_leaves_a_table_and_changes_nothing_the_second_time(
    client: PrefectClient, desk: Installation
) -> None:
    desk.move_to(AFTER_HOURS)
    with desk.services.engine.begin() as connection:
        connection.execute(update(pair_registry).values(mode="closing", after_closing="retired"))

    first, again = await reviewed(), await reviewed()

    assert first == ("Completed", {"reviewed": 1, "moved": {PAIR: "closing → retired"}})
    assert again == ("NO_DECISION", {"reviewed": 0, "moved": {}})
    assert desk.audits()[-1] == ("review-pairs", "pair retired", PAIR, "its trade is over")
    tables = [each for each in await client.read_artifacts() if each.key == "pair-review"]
    assert PAIR in str(tables[0].data) + str(tables[-1].data)


async def test_a_pair_that_keeps_up_stays_what_it_is(client: PrefectClient, desk: Installation) -> None:
    assert await reviewed() == ("Completed", {"reviewed": 1, "moved": {}})
