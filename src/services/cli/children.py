"""The Python processes of the suite, in the order they are started: one table, one row each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx

from src.config.settings import Settings, env_file
from src.shared.infra.embedded.processes import ProcessSpec
from src.shared.infra.embedded.stack import prefect_database_url
from src.shared.infra.heartbeat import EVENT_BRIDGE, LISTENER, STRATEGY_ENGINE
from src.shared.infra.prefect_api import prefect_credentials
from src.shared.prefect.config import SOURCE_ROOT

_HTTP_SECONDS = 2.0
# How long runs under way may take before a worker is stopped all the same.
_DRAIN_SECONDS = 120.0

Variables = Mapping[str, str | None]
# What must be there before a process is started: PostgreSQL and Redis, the trading schema too, the flows too.
Needs = Literal["servers", "schema", "deployments"]


@dataclass(frozen=True)
class Child:
    """One process: when it is wanted, how it is started, when it is ready, how long it may take to stop.

    One that nothing can be asked of (``is_ready`` is None) is ready when it has lived for a moment. One that is not
    vital is left alone when it ends again and again; any other takes the whole suite with it.
    """

    name: str
    title: str
    command: Callable[[Settings], list[str]]
    needs: Needs = "servers"
    is_wanted: Callable[[Settings], bool] = lambda _: True
    is_ready: Callable[[Settings], bool] | None = None
    environment: Callable[[Settings], Variables] = field(default=lambda _: {})
    port: Callable[[Settings], tuple[int, str] | None] = lambda _: None
    url: Callable[[Settings], str] = lambda _: ""
    stop_seconds: float = 15.0
    is_vital: bool = True

    def spec(self, settings: Settings) -> ProcessSpec:
        """What the supervisor starts. The child finds the same state folder and env file from anywhere."""
        variables: dict[str, str | None] = {
            "TRADEWINDS_HOME": str(settings.home),
            "TRADEWINDS_ENV_FILE": str(env_file().expanduser().resolve()),
            "PYTHONUNBUFFERED": "1",
            **self.environment(settings),
        }
        return ProcessSpec(self.name, [sys.executable, *self.command(settings)], variables)


def children() -> tuple[Child, ...]:
    """All processes, in the order in which they are started; they are stopped the other way round."""
    return (
        Child(
            name="twin",
            title="Twin of the vendors",
            is_wanted=lambda settings: settings.environment == "twin" and settings.broker.base_url is None,
            command=_twin_command,
            is_ready=lambda settings: _answers(f"{settings.twin_url}/health"),
            port=lambda settings: (settings.stack.twin_port, "TRADEWINDS_TWIN_PORT"),
            url=lambda settings: settings.twin_url,
        ),
        Child(
            name="prefect-server",
            title="Prefect server",
            is_wanted=lambda settings: settings.orchestrator.api_url is None,
            command=lambda _: [str(SOURCE_ROOT / "scripts/prefect/start_prefect_server.py")],
            environment=lambda settings: {"TRADEWINDS_PREFECT_DATABASE_URL": prefect_database_url(settings)},
            is_ready=lambda settings: _answers(f"{settings.prefect_api_url}/health"),
            port=lambda settings: (settings.stack.prefect_port, "TRADEWINDS_PREFECT_PORT"),
            url=lambda settings: settings.prefect_api_url.removesuffix("/api"),
        ),
        Child(
            name="prefect-worker",
            title="Prefect worker",
            needs="deployments",
            command=_worker_command,
            is_ready=_a_pool_is_served,
            stop_seconds=_DRAIN_SECONDS + 15.0,
        ),
        Child(
            name=EVENT_BRIDGE,
            title="Bridge from events to runs",
            needs="deployments",
            # Where no schedule starts anything, no event does.
            is_wanted=lambda settings: settings.orchestrator.schedules_active,
            is_vital=False,
            command=lambda _: ["-m", "src.shared.prefect.bridge"],
        ),
        Child(
            name=LISTENER,
            title="Trade updates listener",
            needs="schema",
            is_vital=False,
            command=lambda _: ["-m", "src.services.execution.main", "listen"],
        ),
        Child(
            name=STRATEGY_ENGINE,
            title="Strategy engine",
            needs="schema",
            is_vital=False,
            command=lambda _: ["-m", "src.services.strategy_engine.main", "serve"],
        ),
        Child(
            name="notification",
            title="Outbox relay and listener",
            needs="schema",
            command=lambda _: ["-m", "src.services.notification.main", "serve"],
        ),
    )


def wanted(settings: Settings) -> list[Child]:
    """The processes that these settings ask for, in the order in which they are started."""
    return [child for child in children() if child.is_wanted(settings)]


def prefect_answer(settings: Settings, path: str, body: object) -> object:
    """POST to the Prefect API and return what it answers.

    Raises:
        httpx.HTTPError: it does not answer, or not with success.
    """
    response = httpx.post(
        f"{settings.prefect_api_url}{path}", json=body, auth=prefect_credentials(), timeout=_HTTP_SECONDS
    )
    return response.raise_for_status().json()


def _twin_command(settings: Settings) -> list[str]:
    options = {
        "--port": str(settings.stack.twin_port),
        "--store": str(settings.home / "twin"),
        "--seed": str(settings.twin.seed),
        "--clock": settings.twin.clock,
        "--equity": str(settings.twin.equity_dollars),
        "--requests-per-minute": str(settings.twin.requests_per_minute),
        "--polygon-requests-per-minute": str(settings.twin.polygon_requests_per_minute),
    }
    if settings.twin.bars is not None:
        options["--bars"] = str(settings.twin.bars)
    return ["-m", "src.services.twin.main", "serve", *(word for pair in options.items() for word in pair)]


def _worker_command(settings: Settings) -> list[str]:
    named = [pool.strip() for pool in settings.orchestrator.worker_pools.split(",") if pool.strip()]
    served = [word for pool in named for word in ("--pool", pool)] or ["--all"]
    return [str(SOURCE_ROOT / "scripts/prefect/start_prefect_worker.py"), *served]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_HTTP_SECONDS).is_success
    except httpx.HTTPError:
        return False


def _a_pool_is_served(settings: Settings) -> bool:
    try:
        pools = prefect_answer(settings, "/work_pools/filter", {})
    except httpx.HTTPError:
        return False
    return isinstance(pools, list) and any(pool.get("status") == "READY" for pool in pools)
