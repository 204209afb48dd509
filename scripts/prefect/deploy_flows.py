"""Register the deployments that prefect.yaml lists."""

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.shared.prefect.scripts import run_script, settings_for_prefect


def deploy_flows(
    only: Annotated[list[str] | None, typer.Option(help="Deployment to register; may be repeated.")] = None,
    prune: Annotated[bool, typer.Option(help="Remove ours that prefect.yaml no longer lists.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check everything, change nothing.")] = False,
) -> None:
    """Register the deployments of prefect.yaml; pauses that people set are kept."""
    settings = settings_for_prefect()
    from src.shared.prefect.deployments import deploy
    from src.shared.prefect.report import missing_runs, print_outcomes

    outcomes = deploy(settings, only=only or None, prune=prune, dry_run=dry_run)
    print_outcomes(outcomes, dry_run=dry_run)
    if line := missing_runs(outcomes):
        print(line, file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    run_script(deploy_flows)
