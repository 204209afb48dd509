"""What a deploy did, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from src.shared.prefect.deployments import DeploymentOutcome


def print_outcomes(outcomes: Sequence[DeploymentOutcome], *, dry_run: bool) -> None:
    """Print one row for each deployment."""
    title = "Would be done (dry run)" if dry_run else "Deployments"
    table = Table("Deployment", "Pool", "Action", "Paused", "Scheduled runs", title=title)
    for each in outcomes:
        table.add_row(each.name, each.pool, each.action, _paused(each), each.scheduled)
    Console().print(table)


def missing_runs(outcomes: Sequence[DeploymentOutcome]) -> str:
    """Return a line on deployments whose runs the server does not plan, or nothing."""
    names = [each.name for each in outcomes if each.scheduled == "missing"]
    if not names:
        return ""
    return (
        f"The Prefect server plans no runs for {', '.join(names)}: its scheduler does not work."
        " Look at the server's log, and at the pins of fastapi and sqlalchemy."
    )


def _paused(outcome: DeploymentOutcome) -> str:
    return "yes" if outcome.paused else ", ".join(outcome.paused_schedules) or "no"
