"""Databases without a schema, and connections to migrated ones."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, NullPool, create_engine

from src.shared.infra.embedded.postgres import EmbeddedPostgres
from src.shared.infra.postgres_roles import OWNER_ROLE
from tests.conftest import TradingDatabase


@pytest.fixture
def empty_database(embedded_postgres: EmbeddedPostgres) -> Iterator[str]:
    """URL, by the owner, of a database that nothing has been migrated in."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    embedded_postgres.provision_trading(name)
    yield embedded_postgres.url(name, OWNER_ROLE)
    embedded_postgres.drop_database(name)


@pytest.fixture
def engine_for() -> Iterator[Callable[[str], Engine]]:
    """Make engines that are closed after the test."""
    made: list[Engine] = []

    def make(url: str) -> Engine:
        made.append(create_engine(url, poolclass=NullPool))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


@pytest.fixture
def as_app(trading_database: TradingDatabase, engine_for: Callable[[str], Engine]) -> Engine:
    """A migrated database as the services see it."""
    return engine_for(trading_database.app_url)


@pytest.fixture
def as_owner(trading_database: TradingDatabase, engine_for: Callable[[str], Engine]) -> Engine:
    """A migrated database as its owner sees it."""
    return engine_for(trading_database.owner_url)
