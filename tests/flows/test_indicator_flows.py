"""The flows of technical indicators as a worker calls them: on a Prefect server and a PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import func, select, text

from src.shared.domain.bars import DAILY, HOURLY, BarKind
from src.shared.infra.database.tables import technical_indicators
from src.shared.prefect.flows.analytics.daily_indicators_flow import daily_indicators
from src.shared.prefect.flows.analytics.indicators_backfill_flow import indicators_backfill
from src.shared.prefect.flows.analytics.indicators_missing_flow import indicators_missing
from tests.fakes.bar_series import made_up, part
from tests.fakes.desk import Installation
from tests.fakes.stored_market import store_bars

DAYS = BarKind(DAILY, "polygon", "split")
HOURS = BarKind(HOURLY, "alpaca", "split")
SERIES = {name: made_up(60, seed) for seed, name in enumerate(("KO", "PEP", "V"))}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_INDICATORS_BATCH_SYMBOLS", "2")


async def ended(flow: Any, **parameters: Any) -> tuple[str, dict[str, Any]]:
    state = await flow(return_state=True, **parameters)
    assert state.is_completed(), state
    return str(state.name), await state.aresult()


def count(desk: Installation) -> int:
    with desk.services.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(technical_indicators)).scalar_one())


async def artifact(client: PrefectClient, key: str) -> Any:
    found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return max(found, key=lambda each: str(each.created)).data


async def test_the_evening_writes_what_is_new_and_says_so_when_nothing_is(
    client: PrefectClient, desk: Installation
) -> None:
    store_bars(desk.services.engine, DAYS, {name: part(bars, slice(50)) for name, bars in SERIES.items()})
    store_bars(desk.services.engine, HOURS, {"KO": SERIES["KO"]})

    first = await ended(daily_indicators)
    again = await ended(daily_indicators)
    store_bars(desk.services.engine, DAYS, SERIES)
    new = await ended(daily_indicators, symbols=["KO", "PEP"])

    assert first == ("Completed", {"series": 4, "written": 210, "failed": 0})
    assert again == ("ALREADY_DONE", {"series": 4, "written": 0, "failed": 0})
    assert new == ("Completed", {"series": 3, "written": 20, "failed": 0})
    assert count(desk) == 230
    assert await artifact(client, "indicators-progress") == 100.0
    table = await artifact(client, "indicators")
    assert '"bars": "1Day of polygon, split"' in table and '"rows written": 20' in table


async def test_a_backfill_writes_anew_what_the_missing_flow_leaves_alone(
    client: PrefectClient, desk: Installation
) -> None:
    store_bars(desk.services.engine, DAYS, SERIES)
    days = {"first": str(SERIES["KO"].end[10])[:10], "last": str(SERIES["KO"].end[19])[:10]}

    some = await ended(indicators_missing, timeframes=[DAILY], **days)
    rest = await ended(indicators_missing)
    none = await ended(indicators_missing)
    anew = await ended(indicators_backfill, symbols=["V"])

    assert [(name, counts["written"]) for name, counts in (some, rest, none, anew)] == [
        ("Completed", 30),
        ("Completed", 180),
        ("ALREADY_DONE", 0),
        ("Completed", 60),
    ]


async def test_without_bars_a_run_is_skipped(client: PrefectClient, desk: Installation) -> None:
    name, counts = await ended(daily_indicators)

    assert (name, counts["series"]) == ("SKIPPED", 0)


async def test_a_batch_that_fails_degrades_the_run_and_the_others_are_written(
    client: PrefectClient, desk: Installation
) -> None:
    store_bars(desk.services.engine, DAYS, SERIES)
    forbid(desk, "V")

    name, counts = await ended(indicators_missing)
    forbid(desk, "V", "KO")
    failed = await indicators_backfill.with_options(retries=0)(return_state=True, symbols=["KO", "V"])

    assert (name, counts) == ("PARTIAL", {"series": 2, "written": 120, "failed": 1})
    table = await artifact(client, "indicators")
    assert "violates check constraint" in table
    assert failed.is_failed()


def forbid(desk: Installation, *symbols: str) -> None:
    """Let the server refuse rows of symbols."""
    listed = ", ".join(f"'{symbol}'" for symbol in symbols)
    with desk.database.server.connect(desk.database.name) as connection:
        connection.execute("ALTER TABLE analytics.technical_indicators DROP CONSTRAINT IF EXISTS forbidden")
        connection.execute(
            text(
                "ALTER TABLE analytics.technical_indicators"
                f" ADD CONSTRAINT forbidden CHECK (symbol NOT IN ({listed})) NOT VALID"
            ).text
        )


async def test_a_symbol_without_bars_fails_in_one_line(client: PrefectClient, desk: Installation) -> None:
    state = await indicators_missing.with_options(retries=0)(return_state=True, symbols=["NOPE"])

    assert state.is_failed()
    assert "no bars (1Day, 1Hour) are stored of NOPE: load them first." in str(state.message)
