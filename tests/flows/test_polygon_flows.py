"""The flows of Polygon.io as a worker calls them: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from sqlalchemy import text

from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.flows.data_ingestion.polygon_daily_ingestion_flow import polygon_daily_ingestion
from src.shared.prefect.flows.data_ingestion.polygon_historical_backfill_flow import polygon_historical_backfill
from src.shared.prefect.flows.data_ingestion.polygon_incremental_update_flow import polygon_incremental_update
from src.shared.prefect.monitoring import Stopped, progress
from src.shared.prefect.tasks.wiring import services
from tests.fakes.desk import FIRST, SECOND, Installation

BARS = "GET /v2/aggs/*"
EVENING = "2025-03-04T02:00:00Z"  # Monday, 20:00 in Chicago
# Two processes are not needed to see that a run resumes, only that the first one dies.
# In small pages, each stored as it comes.
LOAD = """
import sys
from dataclasses import replace
from datetime import datetime
from src.services.data_ingestion.adapters.polygon import history
from src.shared.failpoints import arm_from_environment
from src.shared.prefect.tasks.wiring import services
arm_from_environment()
wired = services()
start, end = (datetime.fromisoformat(word) for word in sys.argv[1:3])
history.MOST_A_PAGE = 500
load = replace(wired.history, rows_at_once=1)
load.run(wired.bar_source("polygon"), sys.argv[3:], start, end, "1Hour", "split", workers=1)
"""


@pytest.fixture
def evening(desk: Installation) -> Installation:
    """After the close of the first session."""
    desk.twin.admin.move_clock(EVENING)
    return desk


async def run(flow: Any, **parameters: Any) -> State[Any]:
    state: State[Any] = await flow.with_options(retries=0)(return_state=True, **parameters)
    return state


async def ended(flow: Any, **parameters: Any) -> tuple[str, Any]:
    state = await run(flow, **parameters)
    assert state.is_completed(), state
    return str(state.name), await state.aresult()


def counted(desk: Installation, sql: str) -> Any:
    with desk.services.engine.connect() as connection:
        return connection.execute(text(f"SELECT {sql}")).all()


def bars(desk: Installation) -> dict[tuple[str, str], int]:
    found = counted(
        desk, "symbol, timeframe, count(*) FROM data_ingestion.market_data WHERE vendor = 'polygon' GROUP BY 1, 2"
    )
    return {(name, timeframe): count for name, timeframe, count in found}


def requests(desk: Installation) -> int:
    """Begin to count the requests for bars; see `fired`."""
    return desk.twin.admin.fault(kind="latency", endpoint=BARS, seconds=0)


def fired(desk: Installation, number: int) -> int:
    return int(next(each["fired"] for each in desk.twin.admin.faults() if each["id"] == number))


async def test_an_evening_brings_days_hours_and_reference_data_and_the_next_run_nothing(
    client: PrefectClient, evening: Installation
) -> None:
    evening.twin.admin.post(
        "corporate-actions", type="cash_dividend", symbol=FIRST, ex_date="2025-03-05", rate="0.37"
    )

    name, first = await ended(polygon_daily_ingestion)
    _, again = await ended(polygon_daily_ingestion)

    assert name == "Completed"
    # Five sessions since Tuesday the 25th, seven hours each, of both legs of the pair.
    assert bars(evening) == {(s, t): n for s in (FIRST, SECOND) for t, n in (("1Day", 5), ("1Hour", 35))}
    assert (first["symbols"], first["new"], first["missing"], first["rejected"]) == (2, 80, 0, 0)
    assert (again["new"], again["restated"]) == (0, 0)
    assert counted(evening, "symbol, amount::float FROM data_ingestion.dividends") == [(FIRST, 0.37)]
    assert counted(evening, "symbol, status FROM data_ingestion.symbol ORDER BY 1") == [
        (FIRST, "active"),
        (SECOND, "active"),
    ]


async def test_a_run_leaves_its_progress_and_a_table(client: PrefectClient, evening: Installation) -> None:
    await ended(polygon_daily_ingestion)

    shown = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["polygon-bars"])))
    tables = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["polygon-load"])))

    assert {float(each.data) for each in shown} == {100.0}  # type: ignore[arg-type]
    assert FIRST in str(tables[0].data)


async def test_progress_ends_at_the_whole_and_work_that_nobody_waits_for_is_stopped(client: PrefectClient) -> None:
    @flow(name="counting")
    async def counting() -> None:
        async with progress("counted", 40, "a test") as step:
            for _ in range(20):
                await asyncio.gather(asyncio.to_thread(step), asyncio.to_thread(step))
        with pytest.raises(Stopped):
            step()

    await counting()

    (shown,) = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["counted"])))
    assert float(str(shown.data)) == 100.0


async def test_a_symbol_that_fails_is_named_and_the_others_come(client: PrefectClient, evening: Installation) -> None:
    evening.twin.admin.fault(kind="html", endpoint=BARS, symbol=SECOND)

    state = await run(polygon_daily_ingestion)

    assert (state.name, state.is_completed()) == ("PARTIAL", True)
    assert f"1 of 2 symbols failed: {SECOND}" in str(state.message)
    assert (await state.aresult())["failed"] == [SECOND]
    assert {name for name, _ in bars(evening)} == {FIRST}


async def test_bars_without_reference_data_are_partial(client: PrefectClient, evening: Installation) -> None:
    evening.twin.admin.fault(kind="status", status=500, endpoint="GET /v3/*")

    state = await run(polygon_daily_ingestion)

    assert (state.name, state.is_completed()) == ("PARTIAL", True)
    assert "Listings, splits and dividends" in str(state.message)
    assert len(bars(evening)) == 4


@pytest.mark.parametrize(
    "flow", [polygon_daily_ingestion, polygon_historical_backfill, polygon_incremental_update], ids=lambda f: f.name
)
async def test_a_vendor_that_is_away_fails_the_run(client: PrefectClient, evening: Installation, flow: Any) -> None:
    evening.twin.admin.fault(kind="status", status=503, endpoint=BARS)

    state = await run(flow)

    assert state.is_failed()
    assert "HTTP 503" in str(state.message)
    assert bars(evening) == {}


@pytest.mark.parametrize(
    "flow", [polygon_daily_ingestion, polygon_historical_backfill, polygon_incremental_update], ids=lambda f: f.name
)
async def test_without_symbols_a_run_has_nothing_to_do(
    client: PrefectClient, evening: Installation, flow: Any
) -> None:
    with evening.services.engine.begin() as connection:
        connection.execute(text("UPDATE strategy.pair_registry SET mode = 'retired'"))

    assert (await run(flow)).name == "SKIPPED"


async def test_without_a_key_a_scheduled_run_ends_quietly_and_one_by_hand_fails_and_both_say_what_is_missing(
    client: PrefectClient, evening: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", "paper")
    monkeypatch.setenv("TRADEWINDS_ALPACA_API_KEY", "PKTEST")
    monkeypatch.setenv("TRADEWINDS_ALPACA_SECRET_KEY", "secret")
    services.cache_clear()

    daily, hourly = await run(polygon_daily_ingestion), await run(polygon_incremental_update)
    by_hand = await run(polygon_historical_backfill)

    assert [(each.name, each.is_completed()) for each in (daily, hourly)] == [("NO_KEY", True)] * 2
    assert by_hand.is_failed()
    assert all("TRADEWINDS_POLYGON_API_KEY" in str(each.message) for each in (daily, hourly, by_hand))


async def test_a_backfill_knows_its_days_and_asks_for_them_once(client: PrefectClient, evening: Installation) -> None:
    window = {"symbols": [FIRST], "start": date(2025, 1, 2), "end": date(2025, 1, 31)}

    _, load = await ended(polygon_historical_backfill, **window)
    number = requests(evening)
    _, again = await ended(polygon_historical_backfill, **window)
    unasked = fired(evening, number)
    _, anew = await ended(polygon_historical_backfill, **window, resume=False)

    # 20 sessions: the 9th was a day of mourning, the 20th Martin Luther King's.
    assert load["new"] == bars(evening)[FIRST, "1Hour"] == 20 * 7
    assert (again["new"], unasked) == (0, 0)
    assert (anew["unchanged"], anew["restated"]) == (140, 0)
    assert fired(evening, number) > 0


@pytest.mark.parametrize(
    ("days", "why"),
    [
        ({"start": date(2025, 2, 2), "end": date(2025, 1, 2)}, "comes after the last"),
        ({"start": date(2025, 4, 1)}, "still to come"),
        ({"start": date(2020, 1, 2)}, "TRADEWINDS_POLYGON_HISTORY_DAYS=730"),
    ],
)
async def test_days_that_cannot_be_had_are_one_line(
    client: PrefectClient, evening: Installation, days: Any, why: str
) -> None:
    state = await run(polygon_historical_backfill, symbols=[FIRST], **days)

    assert state.is_failed()
    assert why in str(state.message)


async def test_what_the_vendor_restated_is_written_when_all_is_asked_anew(
    client: PrefectClient, evening: Installation
) -> None:
    window = {"symbols": [FIRST], "start": date(2025, 2, 24), "timeframe": "1Day"}
    await ended(polygon_historical_backfill, **window)
    evening.twin.admin.fault(kind="restated_bars", factor=1.001, day="2025-02-26")

    _, load = await ended(polygon_historical_backfill, **window, resume=False)

    assert (load["new"], load["restated"]) == (0, 1)
    assert len(counted(evening, "symbol FROM data_ingestion.market_data_history")) == 1


async def test_an_update_goes_on_where_each_symbols_last_load_ended(
    client: PrefectClient, evening: Installation
) -> None:
    await ended(polygon_historical_backfill, symbols=[FIRST], start=date(2025, 1, 2), end=date(2025, 1, 31))
    # Long before the end of the last finished load nothing is asked for again: that would be refused here.
    evening.twin.admin.fault(kind="plan_refusal", endpoint=BARS, symbol=FIRST, history_days=38)

    name, load = await ended(polygon_incremental_update, symbols=[FIRST, SECOND], first_days=7)

    assert name == "Completed"
    assert load["failed"] == []
    assert bars(evening)[SECOND, "1Hour"] == 35
    assert bars(evening)[FIRST, "1Hour"] == load["new"] - 35 + 140 > 200


async def test_a_load_that_was_killed_goes_on_by_symbol_and_month(
    client: PrefectClient, evening: Installation
) -> None:
    start, end = "2024-09-03T00:00:00-04:00", "2025-03-01T00:00:00-05:00"
    words = [sys.executable, "-c", LOAD, start, end, FIRST, SECOND]
    kill = {"FAILPOINT": "data_ingestion.history_stored:kill:11"}

    died = subprocess.run(words, env={**os.environ, **kill}, cwd=SOURCE_ROOT, check=False, timeout=120)
    months = counted(
        evening,
        "symbol, count(DISTINCT date_trunc('month', bar_end)) FROM data_ingestion.market_data GROUP BY 1 ORDER BY 1",
    )
    # The first symbol is whole, and of the other whole months are there: neither is asked for again.
    whole = requests_for(evening, FIRST)
    evening.twin.admin.fault(
        kind="plan_refusal", endpoint=BARS, symbol=SECOND, history_days=days_since_february(evening)
    )
    number = requests_for(evening, SECOND)
    _, rest = await ended(
        polygon_historical_backfill, symbols=[FIRST, SECOND], start=date(2024, 9, 3), end=date(2025, 2, 28)
    )

    assert died.returncode == -9
    assert months == [(FIRST, 6), (SECOND, 5)]
    assert fired(evening, whole) == 0
    assert rest["failed"] == []
    assert fired(evening, number) == 1
    assert bars(evening) == {(FIRST, "1Hour"): hours(evening), (SECOND, "1Hour"): hours(evening)}


def requests_for(desk: Installation, symbol: str) -> int:
    return desk.twin.admin.fault(kind="latency", endpoint=BARS, symbol=symbol, seconds=0)


def days_since_february(desk: Installation) -> int:
    """Days of a plan that begins some days before February: what was stored last is looked at again."""
    return (date(2025, 3, 3) - date(2025, 2, 1)).days + 6


def hours(desk: Installation) -> int:
    """How many hours the exchange was open from September to February, by the calendar."""
    spans = desk.services.history.calendar.sessions(date(2024, 9, 3), date(2025, 2, 28))
    return sum(len(list(each.bar_spans())) for each in spans)
