"""Starts the Prefect server in the foreground, after checks that would else fail in a page of traceback."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import replace
from typing import NoReturn

from src.config.settings import Settings
from src.shared.domain.errors import PortInUse, SettingsInvalid, Unreachable
from src.shared.prefect.config import LOOPBACK, adopt, server_environment


def serve(settings: Settings, *, host: str = LOOPBACK, port: int | None = None) -> NoReturn:
    """Become the Prefect server on `host` and `port`; does not return.

    Raises:
        PortInUse: somebody listens there already.
        Unreachable: the database does not answer.
    """
    settings = _on_port(settings, port)
    require_free_port(host, settings.stack.prefect_port)
    url = database_url(settings)
    asyncio.run(require_database(url))
    adopt(server_environment(settings, url) | {"PREFECT_SERVER_API_HOST": host})
    listen = ["--host", host, "--port", str(settings.stack.prefect_port)]
    os.execv(sys.executable, [sys.executable, "-m", "prefect", "server", "start", *listen])  # noqa: S606


def require_free_port(host: str, port: int) -> None:
    """Return if nobody listens on `host` and `port`.

    Raises:
        PortInUse: somebody does, or the address is not this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"{host}:{port} can't be listened on ({error.strerror}). Stop what uses it, or choose another"
                " port with --port or TRADEWINDS_PREFECT_PORT."
            ) from None


def database_url(settings: Settings) -> str:
    """Return the address of Prefect's own database, as SQLAlchemy's asyncpg dialect reads it.

    Raises:
        SettingsInvalid: the address is of another kind.
    """
    if settings.orchestrator.database_url is None:
        return f"postgresql+asyncpg://postgres:@/prefect?host={settings.home / 'postgres'}"
    url = settings.orchestrator.database_url.get_secret_value()
    if not url.startswith("postgresql+asyncpg://"):
        raise SettingsInvalid("TRADEWINDS_PREFECT_DATABASE_URL must start with postgresql+asyncpg://")
    return url


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
