"""Make the client from the settings."""

from __future__ import annotations

from pydantic import SecretStr

from src.config.settings import Settings
from src.shared.domain.errors import EnvironmentMismatch, SettingsInvalid
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.alpaca.rate_limit import MinuteLimiter
from src.shared.ports.rate_limit import RateLimiter

_TWIN_KEYS = SecretStr("TWIN"), SecretStr("twin")
_FOREIGN_PREFIX = {"paper": "AK", "live": "PK"}


def make_alpaca_client(settings: Settings, limiter: RateLimiter | None = None) -> AlpacaClient:
    """Make the client for the environment of the settings; nothing connects until it is used.

    Raises:
        SettingsInvalid: paper or live without keys.
        EnvironmentMismatch: live keys in paper or paper keys in live.
    """
    broker = settings.broker
    key, secret = _keys(settings)
    endpoints = Endpoints(
        settings.broker_url,
        settings.data_url,
        key,
        secret,
        broker.connect_timeout_seconds,
        broker.read_timeout_seconds,
    )
    return AlpacaClient(endpoints, limiter or MinuteLimiter(broker.requests_per_minute), broker.feed)


def _keys(settings: Settings) -> tuple[SecretStr, SecretStr]:
    key, secret = settings.broker.api_key, settings.broker.secret_key
    if key is None or secret is None:
        if settings.environment == "twin":
            return _TWIN_KEYS
        raise SettingsInvalid(
            f"Environment {settings.environment} needs TRADEWINDS_ALPACA_API_KEY and TRADEWINDS_ALPACA_SECRET_KEY."
        )
    foreign = _FOREIGN_PREFIX.get(settings.environment)
    if foreign and key.get_secret_value().startswith(foreign):
        raise EnvironmentMismatch(
            f"TRADEWINDS_ALPACA_API_KEY starts with {foreign}, so it is not a key for {settings.environment}; "
            "correct it or TRADEWINDS_ALPACA_ENVIRONMENT."
        )
    return key, secret
