"""The services as flows get them: the account at the broker belongs to the database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from src.config.settings import load_settings
from src.shared.domain.errors import EnvironmentMismatch, Refused, Transient
from src.shared.prefect.tasks.wiring import Services
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import running_twin

Wire = Callable[[str], Services]
ACCOUNT = "GET /v2/account"
SILENCES: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 403, "message": "forbidden."},
    {"kind": "extra", "remove": ["id"]},
]


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


def test_an_account_whose_money_can_not_be_read_is_still_known_by_its_id(
    wire: Wire, trading_database: TradingDatabase
) -> None:
    with running_twin() as twin:
        account = wire(twin.url).unasked_broker.account().account_id
        twin.admin.fault(kind="extra", endpoint=ACCOUNT, set={"last_equity": None}, null=["cash"], times=9)

        assert wire(twin.url).broker.clock().is_open is not None
        assert _recorded(trading_database) == account


@pytest.mark.parametrize("silence", SILENCES, ids=["500", "403", "no id"])
def test_a_key_that_was_confirmed_passes_while_the_broker_says_nothing_of_the_account(
    wire: Wire, trading_database: TradingDatabase, silence: dict[str, Any]
) -> None:
    with running_twin() as twin:
        account = wire(twin.url).broker.account().account_id
        twin.admin.fault(endpoint=ACCOUNT, times=99, **silence)

        broker = wire(twin.url).broker

        assert broker.positions() == []
        with pytest.raises((Transient, Refused)):
            broker.account()
        assert _recorded(trading_database) == account


def test_a_key_that_was_never_confirmed_waits_for_the_broker_to_say_whose_it_is(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_twin() as twin:
        rule = twin.admin.fault(endpoint=ACCOUNT, times=99, **SILENCES[0])
        with pytest.raises(Transient):
            _ = wire(twin.url).broker
        twin.admin.client.delete(f"/admin/faults/{rule}").raise_for_status()
        _ = wire(twin.url).broker

        twin.admin.fault(endpoint=ACCOUNT, times=99, **SILENCES[0])
        _ = wire(twin.url).broker
        for name, value in {"ENVIRONMENT": "twin", "API_KEY": "PKSOMEBODYELSES", "SECRET_KEY": "s3cret"}.items():
            monkeypatch.setenv(f"TRADEWINDS_ALPACA_{name}", value)
        with pytest.raises(Transient):
            _ = wire(twin.url).broker


def test_a_key_is_confirmed_for_one_account_at_one_address(wire: Wire, trading_database: TradingDatabase) -> None:
    with running_twin() as twin, running_twin() as other, _as_owner(trading_database) as execute:
        _ = wire(twin.url).broker
        for each in (twin, other):
            each.admin.fault(endpoint=ACCOUNT, times=99, **SILENCES[0])

        with pytest.raises(Transient):
            _ = wire(other.url).broker
        execute("UPDATE ops.environment SET account = 'another'")
        with pytest.raises(Transient):
            _ = wire(twin.url).broker


def test_a_broker_that_is_away_altogether_is_away_for_a_confirmed_key_too(wire: Wire) -> None:
    """Who looks at the books alone then has to hear of it before anything is asked."""
    with running_twin() as twin:
        _ = wire(twin.url).broker
        twin.admin.fault(kind="status", endpoint="*", status=500, times=99)

        with pytest.raises(Transient):
            _ = wire(twin.url).broker


def test_of_a_confirmed_key_only_a_digest_is_kept(
    wire: Wire, trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"ENVIRONMENT": "twin", "API_KEY": "PKCANARY9CANARY9CANR", "SECRET_KEY": "c4n4ry"}
    for name, value in chosen.items():
        monkeypatch.setenv(f"TRADEWINDS_ALPACA_{name}", value)
    with running_twin() as twin, _as_owner(trading_database) as execute:
        _ = wire(twin.url).broker

        kept = execute("SELECT confirmed_key FROM ops.environment")
        assert re.fullmatch("[0-9a-f]{64}", kept or "")
        with pytest.raises(IntegrityError, match="key_is_a_digest"):
            execute("UPDATE ops.environment SET confirmed_key = 'PKCANARY9CANARY9CANR'")


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

    try:
        yield execute
    finally:
        engine.dispose()
