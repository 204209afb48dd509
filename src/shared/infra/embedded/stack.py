"""The servers of one state folder, and the URLs by which any process finds them given only the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from src.config.settings import Settings
from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.files import locked, make_folder
from src.shared.infra.embedded.postgres import (
    PREFECT_DATABASE,
    PREFECT_ROLE,
    TRADING_DATABASE,
    EmbeddedPostgres,
)
from src.shared.infra.embedded.processes import Supervisor
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.infra.postgres_roles import APP_ROLE, OWNER_ROLE
from src.shared.infra.postgres_urls import normalised_url

Role = Literal["app", "owner"]


class EmbeddedStack:
    """The PostgreSQL and Redis that the settings do not name a URL for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self) -> None:
        """Start what is not external and does not run, in order; undo what was started if a later part fails.

        Raises:
            UserError: a port is taken, the folder can't be written, a server does not get ready.
        """
        with ExitStack() as undo:
            if needs_postgres(self._settings):
                server = postgres(self._settings)
                if not server.is_running():
                    undo.callback(server.stop)
                server.start()
                server.provision()
            if needs_redis(self._settings):
                cache = redis(self._settings)
                if not cache.is_running():
                    undo.callback(cache.stop)
                cache.start()
            undo.pop_all()

    def stop(self) -> None:
        """Stop both, last started first. What does not run is left alone."""
        redis(self._settings).stop()
        postgres(self._settings).stop()


def needs_postgres(settings: Settings) -> bool:
    """Say whether the trading data or the Prefect server live in the embedded PostgreSQL."""
    prefect_is_ours = settings.orchestrator.api_url is None and settings.orchestrator.database_url is None
    return settings.database.url is None or prefect_is_ours


def needs_redis(settings: Settings) -> bool:
    """Say whether events go through the embedded Redis."""
    return settings.redis.url is None


def postgres(settings: Settings) -> EmbeddedPostgres:
    """The embedded PostgreSQL of this state folder, running or not."""
    return EmbeddedPostgres(settings.home / "postgres", timeout=settings.stack.start_timeout_seconds)


def redis(settings: Settings) -> EmbeddedRedis:
    """The embedded Redis of this state folder, running or not."""
    return EmbeddedRedis(
        settings.home / "redis", settings.stack.redis_port, timeout=settings.stack.start_timeout_seconds
    )


def supervisor(settings: Settings) -> Supervisor:
    """The Python child processes of this state folder."""
    return Supervisor(settings.home / "run", settings.home / "logs")


@contextmanager
def stack_lock(settings: Settings) -> Iterator[None]:
    """Hold this state folder for starting, stopping or watching its processes.

    Raises:
        FolderLocked: another `tradewinds up` holds it.
    """
    run = make_folder(settings.home / "run")
    held = f"Another `tradewinds up` works in {settings.home}: use `tradewinds status`, or `tradewinds down`."
    with locked(run / "stack.lock", wait=False, held=held):
        yield


@contextmanager
def running_postgres(settings: Settings) -> Iterator[None]:
    """Have the embedded PostgreSQL for the length of a block: one that does not run is started, and stopped again.

    Where the trading data is elsewhere, nothing is done.

    Raises:
        FolderLocked: a `tradewinds up` works here that has not started it yet.
    """
    server = postgres(settings)
    if settings.database.url is not None or server.is_running():
        yield
        return
    with stack_lock(settings):
        server.start()
        try:
            server.provision()
            yield
        finally:
            server.stop()


def trading_database_url(settings: Settings, role: Role = "app") -> str:
    """SQLAlchemy URL (psycopg) of the trading database. An external URL is used as it is for both roles.

    Raises:
        Unreachable: it is the embedded server's and that does not run.
    """
    if settings.database.url is not None:
        return normalised_url(settings.database.url.get_secret_value(), name="TRADEWINDS_DATABASE_URL")
    name = APP_ROLE if role == "app" else OWNER_ROLE
    return postgres(settings).url(TRADING_DATABASE, name)


def prefect_database_url(settings: Settings) -> str:
    """SQLAlchemy URL (asyncpg) of the Prefect server's database.

    Raises:
        Unreachable: it is the embedded server's and that does not run.
    """
    url = settings.orchestrator.database_url
    if url is not None:
        return normalised_url(url.get_secret_value(), "asyncpg", "TRADEWINDS_PREFECT_DATABASE_URL")
    return postgres(settings).url(PREFECT_DATABASE, PREFECT_ROLE, "asyncpg")


def redis_url(settings: Settings) -> str:
    """URL of the Redis that carries events.

    Raises:
        Unreachable: it is the embedded server's and that does not run.
    """
    if needs_redis(settings) and not redis(settings).is_running():
        raise Unreachable(f"Redis does not run in {settings.home}: run `tradewinds up`.")
    return redis_address(settings)


def redis_address(settings: Settings) -> str:
    """URL of that Redis for those who wait for it: it may be down just now.

    Raises:
        Unreachable: it is the embedded server's and that was never started.
    """
    configured = settings.redis.url
    return redis(settings).url() if configured is None else configured.get_secret_value()
