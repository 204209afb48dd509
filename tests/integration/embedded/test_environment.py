"""The environment a database was first used for stays its environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from src.shared.domain.errors import EnvironmentMismatch
from src.shared.infra.environment import check_recorded
from src.shared.infra.postgres_roles import OWNER_ROLE
from tests.conftest import TradingDatabase

TABLE = """
CREATE TABLE IF NOT EXISTS ops.environment (
    id smallint PRIMARY KEY CHECK (id = 1),
    environment text NOT NULL,
    account text,
    recorded_at timestamptz NOT NULL DEFAULT now()
)
"""


@pytest.fixture
def connection(trading_database: TradingDatabase) -> Iterator[Connection]:
    owner = create_engine(trading_database.url(OWNER_ROLE))
    with owner.begin() as making:
        making.execute(text("CREATE SCHEMA IF NOT EXISTS ops"))
        making.execute(text(TABLE))
    owner.dispose()
    app = create_engine(trading_database.app_url)
    with app.connect() as opened:
        yield opened
    app.dispose()


def test_the_first_use_is_recorded_and_the_same_environment_passes_again(connection: Connection) -> None:
    check_recorded(connection, "paper")
    check_recorded(connection, "paper")

    rows = connection.execute(text("SELECT id, environment, account FROM ops.environment")).all()
    assert [tuple(row) for row in rows] == [(1, "paper", None)]


def test_another_environment_is_refused(connection: Connection) -> None:
    check_recorded(connection, "twin")

    with pytest.raises(EnvironmentMismatch, match="belongs to 'twin' but the settings say 'paper'"):
        check_recorded(connection, "paper")


def test_the_account_is_recorded_once_known_and_another_one_is_refused(connection: Connection) -> None:
    check_recorded(connection, "paper")
    check_recorded(connection, "paper", "PA1")
    check_recorded(connection, "paper", "PA1")

    with pytest.raises(EnvironmentMismatch, match="account PA1 but the keys are those of PA2"):
        check_recorded(connection, "paper", "PA2")
