"""The flows of maintenance as a worker calls them: on a Prefect server whose own database is backed up, too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from sqlalchemy import insert

from src.shared.infra.database.bar_months import add_months
from src.shared.infra.database.tables import market_data
from src.shared.prefect.flows.maintenance.archive_old_data_flow import archive_old_data
from src.shared.prefect.flows.maintenance.database_optimization_flow import database_optimization
from src.shared.prefect.flows.maintenance.log_cleanup_flow import log_cleanup
from src.shared.prefect.flows.maintenance.prefect_database_backup_flow import prefect_database_backup
from src.shared.prefect.flows.maintenance.weekly_database_backup_flow import weekly_database_backup
from tests.flows.conftest import deployed
from tests.integration.database.rows import BAR, add_load
from tests.integration.maintenance.conftest import Suite, execute, suite

__all__ = ["suite"]


async def ended(flow: Any) -> tuple[str, dict[str, Any]]:
    state = await flow.with_options(retries=0)(return_state=True)
    assert state.is_completed(), state
    return str(state.name), await state.aresult()


async def table(client: PrefectClient, key: str) -> Artifact:
    """Read the newest table that a run left under a key."""
    found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return max(found, key=lambda each: each.created or datetime.min.replace(tzinfo=UTC))


def add_bars(suite: Suite, *ends: datetime) -> None:
    bars = [BAR | {"bar_start": end - timedelta(hours=1), "bar_end": end} for end in ends]
    with suite.services.engine.begin() as connection:
        load = add_load(connection)
        add_months(connection, min(ends), max(ends))
        connection.execute(insert(market_data), [bar | {"load_run_id": load} for bar in bars])


async def test_old_bars_are_archived_once_and_a_broken_file_degrades(client: PrefectClient, suite: Suite) -> None:
    now = datetime.now(UTC)
    add_bars(suite, now - timedelta(days=400), now - timedelta(days=1))

    first, again = await ended(archive_old_data), await ended(archive_old_data)
    (file,) = suite.services.settings.archive_folder.rglob("*.parquet")
    file.write_bytes(b"nothing")
    name, summary = await ended(archive_old_data)

    assert first == ("Completed", {"months": 1, "bars": 1, "broken": []})
    assert again == ("Completed", {"months": 0, "bars": 0, "broken": []})
    assert (name, summary["broken"]) == (
        "DEGRADED",
        [file.relative_to(suite.services.settings.archive_folder).as_posix()],
    )
    assert file.name in str((await table(client, "archive")).data)


async def test_old_logs_go(client: PrefectClient, suite: Suite) -> None:
    logs = suite.services.settings.home / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "tradewinds-cli.2020-01-01.jsonl").write_text("old")

    assert await ended(log_cleanup) == ("Completed", {"files": 1, "bytes": 3})
    assert await ended(log_cleanup) == ("Completed", {"files": 0, "bytes": 0})


async def test_the_database_is_put_in_order_and_its_tables_are_shown(client: PrefectClient, suite: Suite) -> None:
    name, summary = await ended(database_optimization)

    assert name == "Completed"
    assert (summary["left_out"], summary["months_added"]) == ([], 4)
    assert "execution.order_intent" in str((await table(client, "database-tables")).data)


async def test_the_trading_database_is_backed_up_tried_and_told(client: PrefectClient, suite: Suite) -> None:
    name, summary = await ended(weekly_database_backup)

    assert (name, summary["drill"], summary["removed"]) == ("Completed", "passed", [])
    assert Path(summary["file"]).is_file()
    assert suite.runs() == [("passed", "", "ended")]
    assert "execution.ledger_posting" in str((await table(client, "backup-trading")).data)


async def test_a_backup_that_fails_its_trial_fails_the_run_and_raises_an_alert(
    client: PrefectClient, suite: Suite
) -> None:
    good = (await ended(weekly_database_backup))[1]["file"]
    execute(suite, "UPDATE execution.order_intent SET filled_quantity = filled_quantity / 2 WHERE leg = 1")

    state = await weekly_database_backup.with_options(retries=0)(return_state=True)

    assert state.is_failed()
    assert "failed its trial restore: I3: " in str(state.message)
    assert Path(good).is_file()
    assert [title.split()[-4:] for title in suite.alerts()] == [["failed", "its", "trial", "restore"]]


async def test_prefects_own_database_is_backed_up_with_the_deployments(
    client: PrefectClient, suite: Suite, database: str
) -> None:
    await deployed("kept-in-the-backup")
    suite.use(PREFECT_DATABASE_URL=database)

    name, summary = await ended(prefect_database_backup)

    assert (name, summary["drill"]) == ("Completed", "passed")
    manifest = json.loads(Path(f"{summary['file']}.json").read_text())
    assert manifest["what"] == "prefect"
    assert manifest["facts"]["tables"]["public.deployment"] >= 1
    exported = json.loads(Path(summary["deployments"]).read_text())
    assert "kept-in-the-backup" in [each["name"] for each in exported]


async def test_where_prefects_database_is_elsewhere_the_deployments_are_kept_all_the_same(
    client: PrefectClient, suite: Suite
) -> None:
    suite.use(PREFECT_API_URL="http://127.0.0.1:1/api")

    state = await prefect_database_backup.with_options(retries=0)(return_state=True)

    assert (state.is_completed(), state.name) == (True, "SKIPPED")
    assert "set TRADEWINDS_PREFECT_DATABASE_URL to back it up from here" in str(state.message)
    assert list(suite.services.settings.backup_folder.glob("prefect-deployments-*.json"))
