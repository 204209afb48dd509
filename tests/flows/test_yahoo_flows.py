"""Yahoo's flows as a worker calls them: on a Prefect server, a PostgreSQL and a twin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from sqlalchemy import delete, func, select

from src.shared.infra.database.tables import (
    company_info,
    company_officers,
    dividends,
    earnings_dates,
    financial_statements,
    institutional_holders,
    key_statistics,
    load_run,
    market_data,
    pair_registry,
)
from src.shared.prefect.flows.data_ingestion import yahoo_company_data_flow
from src.shared.prefect.flows.data_ingestion.yahoo_company_data_flow import yahoo_company_data
from src.shared.prefect.flows.data_ingestion.yahoo_company_information_flow import yahoo_company_information
from src.shared.prefect.flows.data_ingestion.yahoo_company_officers_flow import yahoo_company_officers
from src.shared.prefect.flows.data_ingestion.yahoo_financial_statements_flow import yahoo_financial_statements
from src.shared.prefect.flows.data_ingestion.yahoo_institutional_holders_flow import yahoo_institutional_holders
from src.shared.prefect.flows.data_ingestion.yahoo_key_statistics_flow import yahoo_key_statistics
from src.shared.prefect.flows.data_ingestion.yahoo_market_data_flow import yahoo_market_data
from tests.fakes.desk import FIRST, Installation

SATURDAY = datetime(2025, 3, 8, 15, tzinfo=UTC)
INFORMATION_ONCE = yahoo_company_information.with_options(retries=0)


async def run(flow: Any, **parameters: Any) -> State[Any]:
    """Run a flow once: its own retry would wait for five minutes."""
    state: State[Any] = await flow.with_options(retries=0)(return_state=True, **parameters)
    return state


async def ended(flow: Any, **parameters: Any) -> tuple[str, dict[str, Any]]:
    state = await run(flow, **parameters)
    assert state.is_completed(), state
    return str(state.name), await state.aresult()


def count(desk: Installation, table: Any) -> int:
    with desk.services.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


async def test_company_data_brings_information_officers_and_statistics_of_what_is_watched(
    client: PrefectClient, desk: Installation
) -> None:
    name, told = await ended(yahoo_company_data)

    assert (name, sorted(told)) == ("Completed", ["information", "key statistics"])
    assert (count(desk, company_info), count(desk, company_officers), count(desk, key_statistics)) == (2, 8, 2)
    assert count(desk, earnings_dates) == 2 * 2


async def test_a_second_run_finds_nothing_due_unless_it_is_forced(client: PrefectClient, desk: Installation) -> None:
    await ended(yahoo_key_statistics)

    name, summary = await ended(yahoo_key_statistics)
    forced, again = await ended(yahoo_key_statistics, force=True)

    assert (name, summary["asked"]) == ("NOT_DUE", 0)
    assert (forced, again["asked"], again["rows_changed"]) == ("Completed", 2 * 2, 0)


@pytest.mark.parametrize(
    ("flow", "table"),
    [
        (yahoo_financial_statements, financial_statements),
        (yahoo_institutional_holders, institutional_holders),
        (yahoo_company_officers, company_officers),
    ],
)
async def test_a_monthly_flow_fills_its_table_and_shows_it(
    client: PrefectClient, desk: Installation, flow: Any, table: Any
) -> None:
    name, summary = await ended(flow)

    assert (name, summary["symbols"], summary["failed"]) == ("Completed", 2, [])
    assert summary["rows_changed"] == count(desk, table) > 0
    keys = ["yahoo-company-data", f"yahoo-{summary_dataset(table)}-progress"]
    found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=keys)))
    assert {each.key for each in found} == set(keys)


def summary_dataset(table: Any) -> str:
    return {
        financial_statements: "statements",
        institutional_holders: "holders",
        company_officers: "officers",
    }[table]


async def test_a_symbol_that_fails_is_named_and_the_others_come(client: PrefectClient, desk: Installation) -> None:
    state = await run(yahoo_company_officers, symbols=[FIRST, "NOPE"])

    assert (state.type, state.name) == ("COMPLETED", "PARTIAL")
    assert "NOPE" in (state.message or "")
    assert (await state.aresult())["failed"] == ["NOPE"]
    assert count(desk, company_officers) == 4


async def test_an_outage_fails_the_run_and_the_next_one_brings_the_data(
    client: PrefectClient, desk: Installation
) -> None:
    desk.twin.admin.fault(kind="status", status=500, endpoint="GET /yahoo/*")

    state = await run(yahoo_company_officers)

    assert state.is_failed()
    assert "500" in (state.message or "")
    desk.twin.admin.clear_faults()
    assert (await ended(yahoo_company_officers))[0] == "Completed"
    assert count(desk, company_officers) == 8


async def test_statistics_come_though_information_fails(
    client: PrefectClient, desk: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yahoo_company_data_flow, "yahoo_company_information", INFORMATION_ONCE)
    # Four attempts of the task, each asks twice; officers are not reached.
    desk.twin.admin.fault(kind="status", status=500, endpoint="GET /yahoo/v10/*", first=8)

    state = await run(yahoo_company_data, symbols=[FIRST])

    assert (state.type, state.name) == ("COMPLETED", "PARTIAL"), state
    assert "information Failed" in (state.message or "")
    assert (count(desk, company_info), count(desk, key_statistics)) == (0, 1)


async def test_bars_come_as_traded_and_adjusted_once(client: PrefectClient, desk: Installation) -> None:
    company = {"symbol": FIRST, "type": "cash_dividend", "ex_date": "2025-03-05", "rate": "0.5"}
    desk.twin.admin.post("corporate-actions", **company)
    desk.move_to(SATURDAY)

    name, summary = await ended(yahoo_market_data, days=6)
    again, second = await ended(yahoo_market_data, days=6)

    assert (name, again) == ("Completed", "Completed")
    assert summary["new"] == count(desk, market_data) == 2 * 2 * 35
    assert (second["new"], second["restated"], second["events_changed"], second["failed"]) == (0, 0, 0, [])
    assert (summary["events_changed"], count(desk, dividends)) == (1, 1)
    with desk.services.engine.connect() as connection:
        found = connection.execute(select(market_data.c.vendor, market_data.c.adjustment).distinct())
        assert {tuple(row) for row in found} == {("yahoo", "split"), ("yahoo", "raw")}


async def test_without_a_pair_or_a_symbol_there_is_nothing_to_do(client: PrefectClient, desk: Installation) -> None:
    with desk.services.engine.begin() as connection:
        connection.execute(delete(pair_registry))

    state = await run(yahoo_market_data)

    assert (state.type, state.name) == ("COMPLETED", "SKIPPED")
    assert count(desk, load_run) == 0
