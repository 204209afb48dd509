"""How Prefect is set up: the PREFECT_* variables of the server and of everything that talks to it.

Prefect reads its environment once, when it is imported; so a script calls ``adopt`` before that import, and
a process that has imported Prefect already enters ``prefect_settings`` instead. What the two functions at the
top return is the whole truth in either case. A PREFECT_* variable that a person has set themselves (an auth
string, a log level) is kept, except for those that decide *which* server and state folder are used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from src.config.settings import Settings

LOOPBACK = "127.0.0.1"
# The repository's root: prefect.yaml lies here, and flow runs start here.
SOURCE_ROOT = Path(__file__).resolve().parents[3]

_OURS = frozenset(
    {"PREFECT_API_URL", "PREFECT_HOME", "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_PROFILES_PATH"}
)


def client_environment(settings: Settings) -> dict[str, str]:
    """Return the variables for everything that talks to a Prefect server: workers, flow runs, commands.

    The retry codes let a run outlive a PostgreSQL that is away for half a minute: the server then answers
    500, which the client by itself takes for final, and the run would stay ``Running`` for ever.
    """
    home = settings.home / "prefect"
    # Our own server hands out no CSRF tokens; each client would ask for one to learn that.
    own_server = {} if settings.orchestrator.api_url else {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
    return own_server | {
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,502,504",
        "PREFECT_CLIENT_MAX_RETRIES": "12",
        "PREFECT_WORKER_QUERY_SECONDS": str(settings.orchestrator.worker_query_seconds),
        "PREFECT_WORKER_PREFETCH_SECONDS": "10",
        "PREFECT_LOGGING_LEVEL": _log_level(settings),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
    }


def server_environment(settings: Settings, database_url: str) -> dict[str, str]:
    """Return the variables for the Prefect server itself; `database_url` starts with postgresql+asyncpg://.

    Leases of concurrency slots are kept on disk: in memory they would be lost when the server restarts, and
    the slots they stand for would stay taken.
    """
    return client_environment(settings) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(urlsplit(settings.prefect_api_url).port or settings.stack.prefect_port),
        "PREFECT_SERVER_UI_API_URL": settings.prefect_api_url,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def adopt(variables: Mapping[str, str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Put `variables` into the environment, before prefect is imported; a person's own PREFECT_* stay."""
    environment.update(_kept_by_person(variables, environment))
    Path(environment["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


@contextmanager
def prefect_settings(settings: Settings) -> Iterator[None]:
    """Point Prefect, already imported or not, at the server that `settings` name."""
    variables = _kept_by_person(client_environment(settings), os.environ)
    import prefect.settings

    updates = {
        getattr(prefect.settings, name): value for name, value in variables.items() if name.startswith("PREFECT_")
    }
    with prefect.settings.temporary_settings(updates):
        yield


def _kept_by_person(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name in _OURS or name not in environment}


def _log_level(settings: Settings) -> str:
    # Prefect knows no TRACE; its DEBUG is the nearest.
    return "DEBUG" if settings.logging.level == "TRACE" else settings.logging.level
