"""The stage of a demo: a stack of its own, beside whatever else runs here, fed by the twin alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import httpx

from src.config.settings import Settings, load_settings
from src.services.cli.demo.plan import Request
from src.services.cli.lifecycle import Suite
from src.shared.domain.errors import Terminal, UserError
from src.shared.infra.embedded.ports import free_port, is_free
from src.shared.infra.embedded.stack import stack_lock

# Whatever a person has set for real trading must not reach a demo: keys, databases, other servers.
_FOREIGN = ("TRADEWINDS_ALPACA_", "TRADEWINDS_DATABASE_", "TRADEWINDS_REDIS_URL", "TRADEWINDS_PREFECT_", "PREFECT_")
_OWN_PORT = "TRADEWINDS_PREFECT_PORT"
_ADMIN_SECONDS = 30.0


def demo_environment(home: Path, request: Request, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a demo: only the twin, ports that are free, nobody's schedule running beside it."""
    variables = {k: v for k, v in base.items() if k == _OWN_PORT or not k.startswith(_FOREIGN)}
    chosen = {
        "TRADEWINDS_HOME": str(home),
        "TRADEWINDS_ENV_FILE": os.devnull,
        "TRADEWINDS_ALPACA_ENVIRONMENT": "twin",
        "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": "10000",
        "TRADEWINDS_TWIN_REQUESTS_PER_MINUTE": "0",
        "TRADEWINDS_TWIN_CLOCK": "2024-01-02T00:00:00Z",
        "TRADEWINDS_PREFECT_SCHEDULES_ACTIVE": "false",
        "TRADEWINDS_PREFECT_WORKER_QUERY_SECONDS": "0.5",
        # A symbol that does not trade in the replayed hour is not waited for by the wall clock.
        "TRADEWINDS_EXECUTION_LEG_DEADLINE_SECONDS": "3",
        "TRADEWINDS_EXECUTION_POLL_SECONDS": "0.02",
    }
    if not request.keep:
        # A worker asks for each of its pools, again and again.
        chosen["TRADEWINDS_PREFECT_WORKER_POOLS"] = "strategy-engine-pool"
    if request.runner == "inline":
        chosen["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "ERROR"
    if request.data is not None:
        chosen["TRADEWINDS_TWIN_BARS"] = str(request.data.resolve())
    return variables | chosen


def choose_ports(settings: Settings) -> dict[str, str]:
    """Keep the usual ports where they are free, and take others where they are not."""
    usual = {
        "TRADEWINDS_PREFECT_PORT": settings.stack.prefect_port,
        "TRADEWINDS_TWIN_PORT": settings.stack.twin_port,
        "TRADEWINDS_REDIS_PORT": settings.stack.redis_port,
    }
    return {name: str(port if is_free(port) else free_port()) for name, port in usual.items()}


@dataclass(frozen=True)
class Twin:
    """The twin's steering wheel."""

    url: str

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=_ADMIN_SECONDS)

    def begin_at(self, moment: datetime) -> None:
        """Let a fresh market's clock stand at `moment`, wherever it stood before."""
        self._steer({"now": moment.isoformat(), "reset": True})

    def move_to(self, moment: datetime) -> None:
        """Let the market's clock go on to `moment`; everything due before happens first."""
        self._steer({"now": moment.isoformat()})

    def _steer(self, body: dict[str, object]) -> None:
        response = self._client.post("/admin/clock", json=body)
        if response.is_error:
            raise Terminal(f"the twin refused to move its clock: {response.text}")


def prepare(home: Path, request: Request) -> Settings:
    """Clear the demo's folder and point this process and its children at it.

    Raises:
        UserError: a demo is running in that folder, or it can't be written.
    """
    variables = demo_environment(home, request, os.environ)
    os.environ.clear()
    os.environ.update(variables)
    os.environ.update(choose_ports(load_settings()))
    settings = load_settings()
    _clear(settings)
    return settings


def _clear(settings: Settings) -> None:
    """Stop what an interrupted demo may have left and remove its state."""
    if not settings.home.exists():
        return
    with stack_lock(settings):
        Suite(settings, _silent).stop(drain=False)
    try:
        shutil.rmtree(settings.home)
    except OSError as error:
        raise UserError(f"{settings.home} can't be cleared: {error.strerror}.") from None


@contextmanager
def _silent(text: str) -> Iterator[None]:  # noqa: ARG001
    yield
