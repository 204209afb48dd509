"""The flows of data ingestion as a worker calls them: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import delete, func, select

from src.shared.infra.database.tables import alert, market_data, symbol, technical_indicators
from src.shared.prefect.flows.data_ingestion import data_ingestion_pipeline_flow
from src.shared.prefect.flows.data_ingestion.validate_data_quality_flow import validate_data_quality
from tests.fakes.desk import FIRST, SECOND, SLOT, Installation


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


async def test_an_evenings_data_comes_in_its_order_and_a_vendor_that_is_away_keeps_nothing_else_away(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = data_ingestion_pipeline_flow.data_ingestion_pipeline.with_options(retries=0)
    for name in ("polygon_daily_ingestion", "yahoo_market_data", "daily_indicators", "validate_data_quality"):
        step = getattr(data_ingestion_pipeline_flow, name)
        monkeypatch.setattr(data_ingestion_pipeline_flow, name, step.with_options(retries=0))
    desk.twin.admin.fault(kind="status", endpoint="GET /v2/aggs/*", status=403, body="json", times=2)
    without = await ended(once, symbols=[FIRST, SECOND])
    whole = await ended(once, symbols=[FIRST, SECOND])

    assert whole[0] in {"Completed", "BLOCKED"}, whole
    assert list(whole[2]) == ["Polygon.io", "Yahoo", "indicators", "validation"]
    assert without[0] == "PARTIAL"
    assert "Polygon.io Failed" in without[1]
    with desk.services.engine.connect() as connection:
        vendors = set(connection.execute(select(market_data.c.vendor).distinct()).scalars())
        made = connection.execute(select(func.count()).select_from(technical_indicators)).scalar_one()
    assert vendors == {"polygon", "yahoo"}
    assert made > 0
