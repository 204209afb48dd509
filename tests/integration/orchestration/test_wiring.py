"""The services as flows get them: the account at the broker belongs to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from src.config.settings import load_settings
from src.shared.domain.errors import EnvironmentMismatch
from src.shared.prefect.tasks.wiring import Services
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import running_twin

Wire = Callable[[str], Services]


@pytest.fixture
def wire(trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Wire]:
    made: list[Services] = []

    def make(broker_url: str) -> Services:
        chosen = {
            "ENV_FILE": "/dev/null",
            "HOME": str(tmp_path),
            "DATABASE_URL": trading_database.url(driver="libpq"),
            "ALPACA_BASE_URL": broker_url,
            "ALPACA_DATA_URL": broker_url,
        }
        for name, value in chosen.items():
            monkeypatch.setenv(f"TRADEWINDS_{name}", value)
        made.append(Services(load_settings()))
        return made[-1]

    yield make
    for services in made:
        services.engine.dispose()


def test_the_first_contact_records_the_account_and_another_one_is_refused(
    wire: Wire, trading_database: TradingDatabase
) -> None:
    with running_twin() as twin:
        account = wire(twin.url).broker.account().account_id
        assert _recorded(trading_database) == account

        with _as_owner(trading_database) as execute:
            execute("UPDATE ops.environment SET account = 'another'")
        with pytest.raises(EnvironmentMismatch, match=f"account another but the keys are those of {account}"):
            _ = wire(twin.url).broker


def _recorded(database: TradingDatabase) -> str | None:
    with _as_owner(database) as execute:
        return execute("SELECT account FROM ops.environment")


@contextmanager
def _as_owner(database: TradingDatabase) -> Iterator[Callable[[str], str | None]]:
    engine = create_engine(database.owner_url)

    def execute(statement: str) -> str | None:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return str(result.scalar_one()) if result.returns_rows else None

    yield execute
    engine.dispose()
