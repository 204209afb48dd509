"""Templates in production: deployed to a Prefect server, and run as a worker would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from src.config.settings import Settings
from src.services.cli.commands.workflow import deployment_row
from src.services.strategy_engine.bootstrap import build_workflows
from src.services.strategy_engine.use_cases.workflows import Workflow
from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.deployments import adeploy
from src.shared.prefect.flows.strategy_engine.run_workflow_flow import run_workflow
from src.shared.prefect.table import DeploymentRow
from tests.fakes.desk import Installation

EXAMPLES = SOURCE_ROOT / "deployment" / "workflows"


def no_database() -> Any:
    raise AssertionError("templates are checked without a database")


def rows_of(settings: Settings, folder: Path) -> list[DeploymentRow]:
    found = build_workflows(settings, no_database).read_folder(folder)
    return [deployment_row(each) for each in found if isinstance(each, Workflow)]


async def test_a_template_becomes_a_deployment_and_one_whose_file_is_gone_is_stale(
    settings: Settings, client: PrefectClient
) -> None:
    # One that prefect.yaml lists stands beside them, and stays whatever becomes of templates.
    listed = DeploymentRow.model_validate(
        {
            "name": "listed",
            "entrypoint": "src/shared/prefect/flows/strategy_engine/run_workflow_flow.py:run_workflow",
            "description": "One for the tests.",
            "tags": ["tradewinds"],
            "work_pool": {"name": "strategy-engine-pool"},
        }
    )
    await adeploy(settings, rows=[listed])
    both = rows_of(settings, EXAMPLES)

    first = await adeploy(settings, rows=both, of_templates=True)
    one = await adeploy(settings, rows=both[1:], of_templates=True)
    pruned = await adeploy(settings, rows=both[1:], of_templates=True, prune=True)
    ours = await adeploy(settings, rows=[listed], prune=True, dry_run=True)

    assert {each.name: each.action for each in first} == {
        "workflow-momentum-study": "created",
        "workflow-pairs-study": "created",
    }
    assert [each.scheduled for each in first] == ["yes", "yes"]
    assert [(each.name, each.action) for each in one] == [
        ("workflow-pairs-study", "updated"),
        ("workflow-momentum-study", "stale"),
    ]
    assert [(each.name, each.action) for each in pruned][1] == ("workflow-momentum-study", "removed")
    assert "workflow-pairs-study" not in {each.name for each in ours if each.action == "removed"}
    there = await client.read_deployment_by_name("run-workflow/workflow-pairs-study")
    assert there.parameters == {"template": str(EXAMPLES / "pairs-study.toml")}
    assert {"tradewinds", "workflow-template", "study", "pairs"} == set(there.tags)
    assert [each.schedule.timezone for each in there.schedules] == ["America/New_York"]  # type: ignore[union-attr]


async def test_a_run_leaves_decisions_and_reports_and_says_when_there_is_none_for_now(
    client: PrefectClient, desk: Installation
) -> None:
    template = str(EXAMPLES / "pairs-study.toml")

    fresh = await run_workflow(template, lookback=40, report_every=20, return_state=True)
    stale = await run_workflow(template, lookback=5, max_buffer_seconds=0.5, return_state=True)

    assert fresh.name == "Completed"
    summary: Any = await fresh.aresult()
    assert (summary["study"], summary["bars"], summary["obstacle"]) == ("pairs-study", 40, "")
    assert stale.name == "NO_DECISION"
    assert stale.message is not None
    assert stale.message.startswith("STALE_BAR: the newest bar ended 2025-03-03 15:30Z")
    reports = await tables(client, "workflow-reports")
    assert '"bars": 20' in reports[0]
    assert '"bars": 40' in reports[0]


async def tables(client: PrefectClient, key: str) -> list[str]:
    found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [str(each.data) for each in sorted(found, key=lambda each: str(each.created))]
