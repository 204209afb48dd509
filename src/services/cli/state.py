"""What runs in a state folder: one row per server and process."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import httpx
import psutil
from rich.table import Table

from src.config.settings import Settings
from src.services.cli.children import Child, prefect_answer, wanted
from src.shared.infra.embedded import postgres as postgres_module
from src.shared.infra.embedded import redis as redis_module
from src.shared.infra.embedded.processes import Supervisor
from src.shared.infra.embedded.stack import needs_postgres, needs_redis, postgres, redis, supervisor

State = Literal["running", "not ready", "stopped", "external"]
_COLOUR = {"running": "green", "not ready": "yellow", "stopped": "red", "external": "blue"}


@dataclass(frozen=True)
class Row:
    """One server or process."""

    name: str
    state: State
    pid: int | None = None
    port: int | None = None
    uptime_seconds: float | None = None
    version: str = ""


@dataclass(frozen=True)
class Report:
    """What `tradewinds status` shows."""

    home: str
    environment: str
    rows: tuple[Row, ...]
    deployments: int | None

    @property
    def all_up(self) -> bool:
        """Say whether everything that these settings ask for runs."""
        return all(row.state in {"running", "external"} for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**asdict(self), "all_up": self.all_up}


def look(settings: Settings) -> Report:
    """See what runs now."""
    watcher = supervisor(settings)
    rows = (
        _postgres_row(settings),
        _redis_row(settings),
        *(_child_row(child, settings, watcher) for child in wanted(settings)),
    )
    return Report(str(settings.home), settings.environment, rows, _deployments(settings))


def as_table(report: Report) -> Table:
    """The report for people."""
    table = Table(title=f"Tradewinds in {report.home} ({report.environment})", title_justify="left")
    for heading in ("Part", "State", "Process", "Port", "Up for", "Version"):
        table.add_column(heading)
    for row in report.rows:
        uptime = "" if row.uptime_seconds is None else str(timedelta(seconds=round(row.uptime_seconds)))
        state = f"[{_COLOUR[row.state]}]{row.state}[/]"
        table.add_row(row.name, state, str(row.pid or ""), str(row.port or ""), uptime, row.version)
    table.caption = f"{'unknown' if report.deployments is None else report.deployments} deployments"
    return table


def package_version(name: str) -> str:
    """Version of an installed package, empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _postgres_row(settings: Settings) -> Row:
    if not needs_postgres(settings):
        return Row("PostgreSQL", "external")
    return _row("PostgreSQL", postgres(settings).pid(), None, postgres_module.server_version())


def _redis_row(settings: Settings) -> Row:
    if not needs_redis(settings):
        return Row("Redis", "external")
    return _row("Redis", redis(settings).pid(), settings.stack.redis_port, redis_module.server_version())


def _child_row(child: Child, settings: Settings, watcher: Supervisor) -> Row:
    process = watcher.process(child.name)
    port = child.port(settings)
    shown = package_version("prefect" if child.name.startswith("prefect") else "tradewinds")
    ready = process is not None and (child.is_ready is None or child.is_ready(settings))
    return _row(child.title, process.pid if process else None, port[0] if port else None, shown, ready=ready)


def _row(name: str, pid: int | None, port: int | None, shown: str, *, ready: bool = True) -> Row:
    if pid is None:
        return Row(name, "stopped", port=port, version=shown)
    try:
        uptime = time.time() - psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return Row(name, "stopped", port=port, version=shown)
    return Row(name, "running" if ready else "not ready", pid, port, uptime, shown)


def _deployments(settings: Settings) -> int | None:
    try:
        found = prefect_answer(settings, "/deployments/count", {})
    except httpx.HTTPError:
        return None
    return found if isinstance(found, int) else None
