"""Start one worker process for one or more work pools, in the foreground."""

import asyncio
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.shared.domain.errors import InputInvalid
from src.shared.infra.logging import configure_logging
from src.shared.prefect.scripts import run_script, settings_for_prefect
from src.shared.prefect.work_pools import POOLS


def start(
    pool: Annotated[list[str] | None, typer.Option(help="Pool to serve; may be given several times.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Serve all pools of Tradewinds.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once, per pool; default TRADEWINDS_PREFECT_WORKER_LIMIT."),
    ] = None,
    name: Annotated[str, typer.Option(help="What the UI calls this worker.")] = f"worker-{platform.node()}",
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="How long runs may take to end after SIGTERM or Ctrl-C.")
    ] = 120.0,
) -> None:
    """Serve work pools until SIGTERM or Ctrl-C, then wait for runs under way; a second signal ends them."""
    pools = list(POOLS) if every else list(dict.fromkeys(pool or []))
    if not pools:
        raise InputInvalid(f"Say which pools: --all, or --pool with one of {', '.join(POOLS)}.")
    settings = settings_for_prefect()
    configure_logging(settings, "worker")
    from src.shared.prefect.worker import work

    limit = limit or settings.orchestrator.worker_limit
    raise SystemExit(asyncio.run(work(settings, pools, limit=limit, name=name, drain_seconds=drain_seconds)))


if __name__ == "__main__":
    run_script(start)
