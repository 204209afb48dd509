"""Servers that settings name by a URL: asked before anything is started, so that a mistake leaves nothing behind."""

from __future__ import annotations

import asyncio

from src.config.settings import Settings
from src.shared.domain.errors import EnvironmentMismatch, Refused, Transient, Unreachable
from src.shared.infra.embedded.stack import prefect_database_url, redis_url, trading_database_url
from src.shared.infra.redaction import redactor_for

_SECONDS = 5.0


def require_externals(settings: Settings) -> None:
    """Return once every external server has answered; the embedded ones are not asked.

    Raises:
        Unreachable: one does not answer, or refuses the password; the message names the setting.
        SettingsInvalid: a URL can't be read.
        SchemaMismatch: the trading database was migrated by a newer Tradewinds.
    """
    if settings.database.url is not None:
        _require_trading_database(settings)
    if settings.redis.url is not None:
        _require_redis(settings)
    if settings.orchestrator.api_url is not None:
        from src.shared.prefect.connection import require_server

        require_server(settings)
    elif settings.orchestrator.database_url is not None:
        from src.shared.prefect.server import require_database

        asyncio.run(require_database(prefect_database_url(settings)))


def account_at_broker(settings: Settings) -> str | None:
    """Return the id of the account that the keys open; None where the twin stands in or the broker is away.

    A broker that is away for a while keeps nothing from starting: flows wait for it.

    Raises:
        EnvironmentMismatch: the broker refuses the keys.
    """
    if settings.environment == "twin":
        return None
    from src.shared.infra.alpaca.factory import make_alpaca_client

    try:
        return make_alpaca_client(settings).account_id()
    except Refused as error:
        raise EnvironmentMismatch(_one_line(error)) from None
    except Transient:
        return None


def _require_trading_database(settings: Settings) -> None:
    from src.shared.infra.database.revisions import check_known

    try:
        check_known(trading_database_url(settings))
    except Unreachable as error:
        raise Unreachable(f"{_one_line(error)}. Start it, or correct TRADEWINDS_DATABASE_URL.") from None


def _require_redis(settings: Settings) -> None:
    import redis

    try:
        with redis.Redis.from_url(
            redis_url(settings), socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
        ) as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as error:
        said = redactor_for(settings)(_one_line(error))
        raise Unreachable(
            f"The Redis of TRADEWINDS_REDIS_URL does not answer: {said}. Start it, or correct the URL."
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
