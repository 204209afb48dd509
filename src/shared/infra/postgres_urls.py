"""Database URLs as people write them, made into the one form that SQLAlchemy takes here."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from src.shared.domain.errors import SettingsInvalid

Driver = Literal["psycopg", "asyncpg"]

_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"})


def normalised_url(url: str, driver: Driver = "psycopg", name: str = "The database URL") -> str:
    """Return the URL with the driver that is to be used, whichever was written.

    Args:
        name: what the message calls the URL, such as the setting it comes from.

    Raises:
        SettingsInvalid: it is not a PostgreSQL URL. The message does not repeat it: it may hold a password.
    """
    how_to = f"{name} is not usable: write postgresql://user:password@host:5432/database."
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError):
        raise SettingsInvalid(how_to) from None
    if parsed.drivername not in _SCHEMES or not parsed.database:
        raise SettingsInvalid(how_to)
    return parsed.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
