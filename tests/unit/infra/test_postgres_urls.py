"""People write database URLs in several ways; one driver is used."""

from __future__ import annotations

import pytest

from src.shared.domain.errors import SettingsInvalid
from src.shared.infra.database.locks import lock_key
from src.shared.infra.postgres_urls import normalised_url


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"]
)
def test_every_postgresql_scheme_becomes_psycopg(scheme: str) -> None:
    url = normalised_url(f"{scheme}://me:p%40ss@db.example:5433/trading_system?sslmode=require")

    assert url == "postgresql+psycopg://me:p%40ss@db.example:5433/trading_system?sslmode=require"


def test_a_socket_url_stays_a_socket_url() -> None:
    assert normalised_url("postgresql://me@/db?host=%2Frun%2Fpg") == "postgresql+psycopg://me@/db?host=%2Frun%2Fpg"


@pytest.mark.parametrize(
    "url", ["mysql://me:secret@h/db", "secret", "", "postgresql://me:secret@h:port/db", "postgresql://me:secret@h"]
)
def test_anything_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        normalised_url(url)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_lock_keys_fit_postgresql_and_differ_by_every_part_of_the_name() -> None:
    keys = [lock_key("relay"), lock_key("migrate"), lock_key("writer", "ab", "c"), lock_key("writer", "a", "bc")]

    assert len(set(keys)) == len(keys)
    assert all(-(2**63) <= key < 2**63 for key in keys)
    assert lock_key("relay") == keys[0]
