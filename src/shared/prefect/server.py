"""Starts the Prefect server in the foreground, after checks that would else fail in a page of traceback."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import NoReturn

from src.config.settings import Settings
from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.ports import require_free_port
from src.shared.infra.embedded.stack import postgres, prefect_database_url
from src.shared.prefect.config import LOOPBACK, adopt, server_environment


def serve(settings: Settings, *, host: str = LOOPBACK, port: int | None = None) -> NoReturn:
    """Become the Prefect server on `host` and `port`; does not return.

    Raises:
        PortInUse: somebody listens there already.
        Unreachable: the database does not answer.
    """
    settings = _on_port(settings, port)
    require_free_port(settings.stack.prefect_port, "TRADEWINDS_PREFECT_PORT", host)
    url = database_url(settings)
    asyncio.run(require_database(url))
    adopt(server_environment(settings, url) | {"PREFECT_SERVER_API_HOST": host})
    listen = ["--host", host, "--port", str(settings.stack.prefect_port)]
    os.execv(sys.executable, [sys.executable, "-m", "prefect", "server", "start", *listen])  # noqa: S606


def database_url(settings: Settings) -> str:
    """Return the address of Prefect's own database; start the embedded PostgreSQL first if that is where it is.

    The embedded PostgreSQL goes on when the Prefect server ends: others use it too.

    Raises:
        UserError: the address is of another kind, or the embedded PostgreSQL can't be started.
    """
    if settings.orchestrator.database_url is None:
        embedded = postgres(settings)
        embedded.start()
        embedded.provision()
    return prefect_database_url(settings)


async def require_database(url: str, *, timeout_seconds: float = 10.0) -> None:
    """Return once a connection to `url` has been made.

    Raises:
        Unreachable: it could not be made.
    """
    from asyncpg import PostgresError
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with asyncio.timeout(timeout_seconds), engine.connect():
            return
    except (OSError, TimeoutError, SQLAlchemyError, PostgresError) as error:
        raise Unreachable(
            f"Prefect's database at {make_url(url).render_as_string(hide_password=True)} does not answer"
            f" ({' '.join(str(error).split()) or type(error).__name__}). Start it, or correct"
            " TRADEWINDS_PREFECT_DATABASE_URL."
        ) from None
    finally:
        await engine.dispose()


def _on_port(settings: Settings, port: int | None) -> Settings:
    if port is None:
        return settings
    return replace(settings, stack=settings.stack.model_copy(update={"prefect_port": port}))
