"""`tradewinds workflow`: templates checked, run now, and put into production as deployments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.services.cli.options import Json
from src.shared.domain.days import parse_day
from src.shared.domain.errors import InputInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from src.services.strategy_engine.use_cases.workflows import Broken, StudyResult, Wanted, Workflow
    from src.shared.prefect.table import DeploymentRow
    from src.shared.prefect.tasks.wiring import Services

_FAILED, _USER_ERROR = 1, 2
_ENTRYPOINT = "src/shared/prefect/flows/strategy_engine/run_workflow_flow.py:run_workflow"

TemplateFile = Annotated[Path, typer.Argument(metavar="TEMPLATE", help="A TOML file; or a name in the folder.")]
Folder = Annotated[
    Path | None, typer.Argument(metavar="[FOLDER]", help="Templates; else TRADEWINDS_STRATEGY_WORKFLOW_FOLDER.")
]
Lookback = Annotated[int | None, typer.Option(min=1, max=50_000, help="Decide about so many of the newest bars.")]
Since = Annotated[str, typer.Option(metavar="DAY", help="Decide about no bar before this day.")]
MaxBuffer = Annotated[
    float | None,
    typer.Option(
        min=0.001, max=86_400, help="Seconds that the newest bar may be decided on after its end; else 120."
    ),
]
ReportEvery = Annotated[int | None, typer.Option(min=1, max=50_000, help="Sum up after every so many bars.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Check, run and deploy workflows, described in templates.")
    group.command(name="run")(run)
    group.command(name="run-all")(run_all)
    group.command(name="validate")(validate)
    group.command(name="deploy")(deploy)
    app.add_typer(group, name="workflow")


def run(
    template: TemplateFile,
    lookback: Lookback = None,
    since: Since = "",
    max_buffer: MaxBuffer = None,
    report_every: ReportEvery = None,
    as_json: Json = False,
) -> None:
    """Load a template's bars and let its strategy decide about them, observing; nothing is sent."""
    from src.services.cli.desk import print_json, wired

    wanted = _wanted(lookback, since, max_buffer, report_every)
    found = wired()
    workflow = found.workflows.read(_file(found, template))
    result = _run(found, workflow, wanted, aloud=not as_json)
    if as_json:
        print_json(_facts(result))


def run_all(
    folder: Folder = None,
    lookback: Lookback = None,
    since: Since = "",
    max_buffer: MaxBuffer = None,
    report_every: ReportEvery = None,
) -> None:
    """Run every template of a folder; exit code 1 if one is broken or fails, the others run all the same."""
    from src.services.cli.desk import wired
    from src.shared.domain.errors import TradewindsError
    from src.shared.prefect.tasks.wiring import services

    wanted = _wanted(lookback, since, max_buffer, report_every)
    whole, broken = _split(_listed(services(), folder))
    found = wired()
    failed = [_say_broken(each.problem) for each in broken]
    for each in whole:
        typer.echo(f"{each.study} ({each.path.name})")
        try:
            _run(found, each, wanted, aloud=True)
        except TradewindsError as error:
            failed.append(_say_broken(" ".join(str(error).split())))
    count = len(whole) + len(broken)
    typer.echo(f"{count - len(failed)} of {count} workflows ran.")
    if failed:
        raise typer.Exit(_FAILED)


def validate(
    templates: Annotated[
        list[Path] | None, typer.Argument(metavar="[TEMPLATE|FOLDER]...", help="Files or folders; else the folder.")
    ] = None,
) -> None:
    """Check templates, their strategies and configs; nothing is loaded or run. Exit code 2 if one is wrong."""
    from src.shared.prefect.tasks.wiring import services

    found = services()
    checked: list[Workflow | Broken] = []
    for each in templates or [found.settings.workflow_folder]:
        checked += _listed(found, each) if each.is_dir() or templates is None else [_checked(found, each)]
    whole, broken = _split(checked)
    wrong = [each.problem for each in broken]
    for one in whole:
        try:
            deployment_row(one)
        except InputInvalid as error:
            wrong.append(str(error))
        else:
            typer.echo(f"{one.path.name}: {one.study}, {one.kind.key}, {_when(one)}")
    for problem in wrong:
        _say_broken(problem)
    if wrong:
        raise typer.Exit(_USER_ERROR)


def deploy(
    folder: Folder = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove deployments whose template is gone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
) -> None:
    """Put every template of a folder into production: a Prefect deployment each, with the template's schedule."""
    from src.shared.prefect.scripts import settings_for_prefect
    from src.shared.prefect.tasks.wiring import services

    whole, broken = _split(_listed(services(), folder))
    if broken:
        raise InputInvalid(f"Nothing was deployed: {'; '.join(each.problem for each in broken)}")
    rows = [deployment_row(each) for each in whole]
    settings = settings_for_prefect()
    from src.shared.prefect.deployments import deploy as register_deployments
    from src.shared.prefect.report import missing_runs, print_outcomes

    outcomes = register_deployments(settings, rows=rows, prune=prune, dry_run=dry_run, of_templates=True)
    print_outcomes(outcomes, dry_run=dry_run)
    stale = [each.name for each in outcomes if each.action == "stale"]
    if stale:
        typer.echo(f"Stale, their template is gone: {', '.join(stale)}. They run on; --prune removes them.")
    if line := missing_runs(outcomes):
        typer.echo(line, err=True)
        raise typer.Exit(_FAILED)


def _run(found: Services, workflow: Workflow, wanted: Wanted, *, aloud: bool) -> StudyResult:
    from src.services.strategy_engine.use_cases.workflows import said
    from src.shared.prefect.tasks.workflow_bars import load_bars

    bars = found.workflows.bars_wanted(workflow, found.broker.clock().now, wanted)
    for failed in load_bars(found, bars):
        typer.echo(f"not loaded: {failed}", err=True)
    now = found.broker.clock().now
    result = found.workflows.run(
        workflow, bars, now, wanted, (lambda told: typer.echo(said(told))) if aloud else None
    )
    if aloud:
        summary = result.summary
        typer.echo(f"Now: {summary['decision']}{f': {result.obstacle}' if result.obstacle else ''}")
    return result


def deployment_row(workflow: Workflow) -> DeploymentRow:
    """Make the deployment that stands for a template.

    Raises:
        InputInvalid: Prefect can't take its schedule.
    """
    from pydantic import ValidationError

    from src.shared.prefect.table import MANAGED_TAG, TEMPLATE_TAG, DeploymentRow, ScheduleRow, WorkPoolRow

    meta, schedule = workflow.template.meta, workflow.template.schedule
    try:
        times = [ScheduleRow(slug="template", **schedule.model_dump())] if schedule else []
    except (ValidationError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputInvalid(f"{workflow.path.name}: [schedule] cron: {said.removeprefix('Value error, ')}") from None
    return DeploymentRow(
        name=f"workflow-{meta.study}",
        entrypoint=_ENTRYPOINT,
        description=meta.description or f"The template {workflow.path.name}, observing.",
        tags=list(dict.fromkeys([MANAGED_TAG, TEMPLATE_TAG, *meta.tags])),
        parameters={"template": str(workflow.path.resolve())},
        work_pool=WorkPoolRow(name="strategy-engine-pool"),
        schedules=times,
    )


def _listed(found: Services, folder: Path | None) -> list[Workflow | Broken]:
    return found.workflows.read_folder(folder or found.settings.workflow_folder)


def _checked(found: Services, template: Path) -> Workflow | Broken:
    from src.services.strategy_engine.use_cases.workflows import Broken
    from src.shared.domain.errors import UserError

    path = _file(found, template)
    try:
        return found.workflows.read(path)
    except UserError as error:
        return Broken(path, str(error))


def _file(found: Services, template: Path) -> Path:
    """Find a template by its path, or by its name in the folder."""
    named = found.settings.workflow_folder / template.with_suffix(".toml").name
    return named if not template.exists() and len(template.parts) == 1 and named.exists() else template


def _wanted(lookback: int | None, since: str, max_buffer: float | None, report_every: int | None) -> Wanted:
    from src.services.strategy_engine.use_cases.workflows import Wanted

    return Wanted(lookback, parse_day("--since", since) if since else None, max_buffer, report_every)


def _split(listed: Iterable[Workflow | Broken]) -> tuple[list[Workflow], list[Broken]]:
    from src.services.strategy_engine.use_cases.workflows import Workflow

    whole: list[Workflow] = []
    broken: list[Broken] = []
    for each in listed:
        if isinstance(each, Workflow):
            whole.append(each)
        else:
            broken.append(each)
    return whole, broken


def _say_broken(problem: str) -> str:
    for line in problem.splitlines():
        typer.echo(f"error: {line}", err=True)
    return problem


def _when(workflow: Workflow) -> str:
    schedule = workflow.template.schedule
    return f"{schedule.cron} in {schedule.timezone}" if schedule else "by hand"


def _facts(result: StudyResult) -> dict[str, object]:
    from src.services.strategy_engine.sdk.wishes import WISHES

    decisions = [
        {"slot": each.slot, "wishes": WISHES.dump_python(each.wishes, mode="json"), "numbers": dict(each.numbers),
         "value": each.value}
        for each in result.decisions
    ]  # fmt: skip
    return {**result.summary, "decisions": decisions, "reports": result.reports}
