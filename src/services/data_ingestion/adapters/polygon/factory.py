"""Make what reads Polygon.io from the settings."""

from __future__ import annotations

from functools import cache

from pydantic import SecretStr

from src.config.settings import Settings
from src.services.data_ingestion.adapters.polygon.errors import KEY_SETTING
from src.services.data_ingestion.adapters.polygon.wire import Endpoint, Wire
from src.shared.domain.errors import SettingsInvalid
from src.shared.infra.limiters import make_limiter
from src.shared.infra.rate_limit import WINDOW_SECONDS, Patience
from src.shared.ports.rate_limit import RateLimiter

# Nothing waits for these loads, and five requests a minute are few: a request stands in line for long.
_PATIENCE = Patience(own_seconds=3600.0, vendor_seconds=WINDOW_SECONDS)
_TWINS_KEY = SecretStr("offline-twin")


def is_set_up(settings: Settings) -> bool:
    """Say whether there is a key, or none is needed."""
    return settings.polygon.api_key is not None or settings.environment == "twin"


def make_wire(settings: Settings, limiter: RateLimiter | None = None) -> Wire:
    """Make the connection; nothing connects until it is used.

    Raises:
        SettingsInvalid: paper or live without a key.
    """
    if not is_set_up(settings):
        raise SettingsInvalid(f"Polygon.io is not set up: set {KEY_SETTING} to your key.")
    at = settings.polygon
    key = at.api_key or _TWINS_KEY
    endpoint = Endpoint(settings.polygon_url, key, at.connect_timeout_seconds, at.read_timeout_seconds)
    return Wire(endpoint, limiter or _limiter(settings, key))


@cache
def _limiter(settings: Settings, key: SecretStr) -> RateLimiter:
    # One for all that a process makes: where there is no Redis, its permits are counted here alone.
    per_minute = settings.polygon.requests_per_minute
    return make_limiter(settings, settings.polygon_url, key.get_secret_value(), per_minute, _PATIENCE, reserve=False)
