"""Make the client from the settings."""

from __future__ import annotations

from functools import partial

from loguru import logger
from sqlalchemy import Engine

from src.config.settings import Settings
from src.shared.domain.errors import Refused, Transient
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.alpaca.keys import broker_keys, key_digest
from src.shared.infra.database.engine import translated_errors
from src.shared.infra.environment import check_recorded, check_settings, remember_key, remembers_key
from src.shared.infra.limiters import make_limiter
from src.shared.ports.rate_limit import RateLimiter


def make_alpaca_client(settings: Settings, limiter: RateLimiter | None = None) -> AlpacaClient:
    """Make the client for the environment of the settings; nothing connects until it is used.

    Raises:
        SettingsInvalid: paper or live without keys.
        EnvironmentMismatch: live keys in paper or paper keys in live.
    """
    broker = settings.broker
    key, secret = broker_keys(settings)
    endpoints = Endpoints(
        settings.broker_url,
        settings.data_url,
        key,
        secret,
        broker.connect_timeout_seconds,
        broker.read_timeout_seconds,
    )
    return AlpacaClient(endpoints, limiter or make_account_limiter(settings), broker.feed)


def make_unasked_client(settings: Settings, engine: Engine) -> AlpacaClient:
    """Make the client and see that keys, URL and database belong together, without asking the broker.

    Raises:
        UserError: they do not.
        Unreachable: the database is away.
    """
    check_settings(settings)
    client = make_alpaca_client(settings)
    with translated_errors(engine), engine.begin() as connection:
        check_recorded(connection, settings.environment)
    return client


def check_account(client: AlpacaClient, settings: Settings, engine: Engine) -> AlpacaClient:
    """Return the client, after a look that its account is the one of the database.

    While a broker that answers says nothing of the account alone, a key passes that opened it before: no exit waits
    for that word. Whether the account may trade is another question, and asked elsewhere.

    Raises:
        UserError: it is not.
        Transient: the broker or the database can't be asked now.
        Refused: the broker does not accept the keys.
    """
    try:
        account = client.account_id()
    except (Transient, Refused) as error:
        with translated_errors(engine), engine.connect() as connection:
            if not remembers_key(connection, partial(key_digest, settings)):
                raise
        client.clock()  # a broker that is away altogether has to say so here
        logger.warning("The broker does not say whose account it is, but its key opened it before: {}", error)
        return client
    with translated_errors(engine), engine.begin() as connection:
        check_recorded(connection, settings.environment, account)
        remember_key(connection, key_digest(settings, account))
    return client


def make_account_limiter(settings: Settings) -> RateLimiter:
    """Make the limiter that all processes of the account share; nothing connects until it is used.

    Raises:
        SettingsInvalid: paper or live without keys, or a URL of Redis that is none.
        EnvironmentMismatch: live keys in paper or paper keys in live.
    """
    key, _ = broker_keys(settings)
    return make_limiter(settings, settings.broker_url, key.get_secret_value(), settings.broker.requests_per_minute)
