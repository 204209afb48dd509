"""The flows of data ingestion as a worker calls them: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import delete, select

from src.shared.infra.database.tables import alert, market_data, symbol
from src.shared.prefect.flows.data_ingestion.validate_data_quality_flow import validate_data_quality
from tests.fakes.desk import FIRST, SECOND, SLOT, Installation

# Prefect 3.8.8 leaves connections to its server open where flows run in the test's own process.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def ended(flow: Any, **parameters: Any) -> tuple[str, str, dict[str, Any]]:
    state = await flow(return_state=True, **parameters)
    assert state.is_completed(), state
    return str(state.name), str(state.message), await state.aresult()


async def test_series_are_judged_and_the_end_says_which_are_not_to_be_traded_on(
    client: PrefectClient, desk: Installation
) -> None:
    desk.services.ingestion.fetch_bars([FIRST, SECOND], SLOT, 200)
    sound = await ended(validate_data_quality)
    bars = market_data.c
    with desk.services.engine.begin() as connection:
        ends = select(bars.bar_end).where(bars.symbol == SECOND).order_by(bars.bar_end).offset(50).limit(40)
        connection.execute(delete(market_data).where(bars.symbol == SECOND, bars.bar_end.in_(ends)))
    blocked, again = await ended(validate_data_quality), await ended(validate_data_quality, symbols=[SECOND])

    assert (sound[0], sound[2]["series"], sound[2]["blocked"]) == ("SOUND", 2, [])
    series = f"{SECOND} 1Hour alpaca/split"
    assert (blocked[0], blocked[1]) == ("BLOCKED", f"Not to be traded on: {series}.")
    assert again[2] == {"series": 1, "blocked": [series], "new": 0}
    with desk.services.engine.connect() as connection:
        assert list(connection.execute(select(alert.c.title)).scalars()) == [f"{series} is blocked"]
        assert set(connection.execute(select(symbol.c.symbol)).scalars()) == {FIRST, SECOND}
