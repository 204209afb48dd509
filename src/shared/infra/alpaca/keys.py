"""The keys that go with the environment, for every client of the broker."""

from __future__ import annotations

from hashlib import sha256

from pydantic import SecretStr

from src.config.settings import Settings
from src.shared.domain.errors import EnvironmentMismatch, SettingsInvalid

# The twin lets in anybody who shows keys at all.
# No part of an order id, or of any other word: keys are taken out of every line about a failure.
_TWIN_KEYS = SecretStr("TWIN-KEY"), SecretStr("twin-has-no-secret")
_FOREIGN_PREFIX = {"paper": "AK", "live": "PK"}


def broker_keys(settings: Settings) -> tuple[SecretStr, SecretStr]:
    """Return key id and secret key.

    Raises:
        SettingsInvalid: paper or live without keys.
        EnvironmentMismatch: live keys in paper or paper keys in live.
    """
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


def key_digest(settings: Settings, account: str) -> str:
    """Return by what it is remembered that the key opens an account at an address; nobody can read the key from it.

    Raises:
        SettingsInvalid: paper or live without keys.
        EnvironmentMismatch: live keys in paper or paper keys in live.
    """
    key, _ = broker_keys(settings)
    return sha256("\n".join((settings.broker_url, account, key.get_secret_value())).encode()).hexdigest()


def broker_headers(settings: Settings) -> dict[str, str]:
    """Return the headers by which the broker knows us. They hold secrets: they are not for showing.

    Raises:
        SettingsInvalid: paper or live without keys.
        EnvironmentMismatch: live keys in paper or paper keys in live.
    """
    key, secret = broker_keys(settings)
    return {"APCA-API-KEY-ID": key.get_secret_value(), "APCA-API-SECRET-KEY": secret.get_secret_value()}
