"""Refuse to run when keys, base URL and database do not mean the same market: twin, paper or live."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from sqlalchemy import Connection, create_engine, text

from src.config.settings import LIVE_ARMING_PHRASE, LIVE_URL, PAPER_URL, Environment, Settings
from src.shared.domain.errors import EnvironmentMismatch
from src.shared.failpoints import VARIABLE, requested

_KEY_PREFIX = {"paper": "PK", "live": "AK"}
_HOST = {"paper": urlsplit(PAPER_URL).hostname, "live": urlsplit(LIVE_URL).hostname}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ALPACA_DOMAIN = "alpaca.markets"
_LEAST_UNKNOWN_SECONDS = 30.0
"""An order that the broker took may stay invisible to look-ups for seconds; only the twin can be hurried."""


def check(settings: Settings, app_url: str, account: str | None = None) -> None:
    """Let these settings pass if they agree with themselves and with what the database was first used for.

    Raises:
        EnvironmentMismatch: they do not; the message is one line that says which two disagree.
    """
    check_settings(settings)
    engine = create_engine(app_url)
    try:
        with engine.begin() as connection:
            check_recorded(connection, settings.environment, account)
    finally:
        engine.dispose()


def check_settings(settings: Settings) -> None:
    """Check the keys, the base URL and the arming phrase against the environment, without any connection."""
    if settings.environment == "twin":
        _check_twin_url(settings.broker_url)
        return
    _check_keys(settings, settings.environment)
    _check_url(settings.broker_url, settings.environment)
    _check_patience(settings.execution.unknown_window_seconds, settings.environment)
    if settings.environment == "live" and settings.broker.live_armed != LIVE_ARMING_PHRASE:
        raise EnvironmentMismatch(
            "Live trading is not armed: set "
            f"TRADEWINDS_ALPACA_LIVE_ARMED={LIVE_ARMING_PHRASE}, or TRADEWINDS_ALPACA_ENVIRONMENT=paper."
        )
    if settings.environment == "live" and requested():
        raise EnvironmentMismatch(f"{VARIABLE} is set: it breaks processes on purpose. Unset it to trade live.")


def check_known(settings: Settings, url: str, account: str | None = None) -> None:
    """Compare with what the database was first used for, if it was used at all; nothing is written.

    Raises:
        EnvironmentMismatch: it belongs to another environment or another account.
    """
    engine = create_engine(url, connect_args={"connect_timeout": settings.database.connect_timeout_seconds})
    try:
        with engine.connect() as connection:
            if connection.execute(text("SELECT to_regclass('ops.environment') IS NOT NULL")).scalar_one():
                _compare(connection, settings.environment, account)
    finally:
        engine.dispose()


def recorded_owner(connection: Connection, environment: Environment) -> str:
    """Name whose trades a database holds: its environment and, once it is known, its account."""
    rows = connection.execute(text("SELECT account FROM ops.environment WHERE id = 1"))
    return f"{environment} {rows.scalar() or ''}".rstrip()


def check_recorded(connection: Connection, environment: Environment, account: str | None = None) -> None:
    """Compare with the one row of ``ops.environment``; the first use writes it."""
    connection.execute(
        text(
            "INSERT INTO ops.environment (id, environment, account, recorded_at)"
            " VALUES (1, :environment, :account, now()) ON CONFLICT (id) DO NOTHING"
        ),
        {"environment": environment, "account": account},
    )
    if _compare(connection, environment, account) is None and account is not None:
        connection.execute(
            text("UPDATE ops.environment SET account = :account WHERE id = 1 AND account IS NULL"),
            {"account": account},
        )


def remember_key(connection: Connection, digest: str) -> None:
    """Keep the digest of the key that has opened the recorded account, in place of an earlier one."""
    connection.execute(
        text(
            "UPDATE ops.environment SET confirmed_key = :digest"
            " WHERE id = 1 AND confirmed_key IS DISTINCT FROM :digest"
        ),
        {"digest": digest},
    )


def remembers_key(connection: Connection, digest: Callable[[str], str]) -> bool:
    """Say whether the recorded account was opened before by the key whose `digest` for an account this is."""
    rows = connection.execute(text("SELECT account, confirmed_key FROM ops.environment WHERE id = 1"))
    recorded = rows.one_or_none()
    if recorded is None or recorded.account is None:
        return False
    return bool(recorded.confirmed_key == digest(recorded.account))


def _compare(connection: Connection, environment: Environment, account: str | None) -> str | None:
    rows = connection.execute(text("SELECT environment, account FROM ops.environment WHERE id = 1"))
    if (recorded := rows.one_or_none()) is None:
        return None
    if recorded.environment != environment:
        raise EnvironmentMismatch(
            f"This database belongs to '{recorded.environment}' but the settings say '{environment}': use "
            "another one (TRADEWINDS_HOME, TRADEWINDS_DATABASE_URL), or set "
            f"TRADEWINDS_ALPACA_ENVIRONMENT={recorded.environment}."
        )
    if account is not None and recorded.account not in (None, account):
        raise EnvironmentMismatch(
            f"This database belongs to account {recorded.account} but the keys are those of {account}: use the keys "
            "of that account, or another database (TRADEWINDS_HOME, TRADEWINDS_DATABASE_URL)."
        )
    owner: str | None = recorded.account
    return owner


def _check_keys(settings: Settings, environment: Environment) -> None:
    key = settings.broker.api_key
    if key is None:
        raise EnvironmentMismatch(
            f"The environment is {environment} but there are no keys: set TRADEWINDS_ALPACA_API_KEY and "
            "TRADEWINDS_ALPACA_SECRET_KEY, or TRADEWINDS_ALPACA_ENVIRONMENT=twin."
        )
    if not key.get_secret_value().startswith(_KEY_PREFIX[environment]):
        raise EnvironmentMismatch(
            f"The environment is {environment} but TRADEWINDS_ALPACA_API_KEY does not begin with "
            f"{_KEY_PREFIX[environment]}: {environment} needs keys of a {environment} account."
        )


def _check_url(url: str, environment: Environment) -> None:
    parts = urlsplit(url)
    proper = parts.scheme == "https" and parts.hostname == _HOST[environment]
    # a stand-in on this machine sees paper keys, never live ones
    stand_in = environment == "paper" and parts.hostname in _LOOPBACK
    if not (proper or stand_in):
        raise EnvironmentMismatch(
            f"The environment is {environment} but TRADEWINDS_ALPACA_BASE_URL names "
            f"{parts.hostname or 'no host'}: leave it empty, or set https://{_HOST[environment]}."
        )


def _check_patience(seconds: float, environment: Environment) -> None:
    if seconds < _LEAST_UNKNOWN_SECONDS:
        raise EnvironmentMismatch(
            f"TRADEWINDS_EXECUTION_UNKNOWN_WINDOW_SECONDS is {seconds:g}: on {environment} an order may exist "
            f"before it can be looked up. Set {_LEAST_UNKNOWN_SECONDS:g} or more."
        )


def _check_twin_url(url: str) -> None:
    host = urlsplit(url).hostname or ""
    if host == _ALPACA_DOMAIN or host.endswith(f".{_ALPACA_DOMAIN}"):
        raise EnvironmentMismatch(
            f"The environment is twin but TRADEWINDS_ALPACA_BASE_URL names {host}: "
            "leave it empty, or set TRADEWINDS_ALPACA_ENVIRONMENT=paper."
        )
