"""Database URLs as people write them, made into the one form that SQLAlchemy takes here."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from src.shared.domain.errors import SettingsInvalid

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgresql+psycopg2": "postgresql+psycopg",
}


def normalised_url(url: str) -> str:
    """Return the URL with the driver of this project, psycopg 3.

    Raises:
        SettingsInvalid: it is not a PostgreSQL URL. The message does not repeat it: it may hold a password.
    """
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError):
        raise SettingsInvalid(_HOW_TO) from None
    if parsed.drivername not in _DRIVERS or not parsed.database:
        raise SettingsInvalid(_HOW_TO)
    return parsed.set(drivername=_DRIVERS[parsed.drivername]).render_as_string(hide_password=False)


_HOW_TO = "The database URL is not usable: write postgresql://user:password@host:5432/trading_system."
