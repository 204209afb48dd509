"""Make the client from the settings."""

from __future__ import annotations

from src.config.settings import Settings
from src.shared.infra.alpaca.client import AlpacaClient
from src.shared.infra.alpaca.endpoints import Endpoints
from src.shared.infra.alpaca.keys import broker_keys
from src.shared.infra.alpaca.rate_limit import MinuteLimiter
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
    return AlpacaClient(endpoints, limiter or MinuteLimiter(broker.requests_per_minute), broker.feed)
