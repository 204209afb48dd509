"""A pair whose company split its shares: history replaced, fitted anew, released; with a PostgreSQL and a twin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert, select
from typer.testing import CliRunner

from src.config.settings import load_settings
from src.services.cli.main import application
from src.services.strategy_engine.domain.reasons import Reason
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import PairMode
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.tables import audit_log, pair_freeze, pair_registry, series_rebase
from src.shared.prefect.tasks import wiring
from src.shared.prefect.tasks.wiring import Services
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import TwinHandle, running_twin

BEFORE = datetime(2025, 3, 3, 20, 0, 5, tzinfo=UTC)
MORNING = datetime(2025, 3, 4, 14, 35, tzinfo=UTC)
LATER = datetime(2025, 3, 4, 16, 30, 5, tzinfo=UTC)
PAIR = "KELV/KYLO"


@pytest.fixture
def twin() -> Iterator[TwinHandle]:
    with running_twin(clock=BEFORE.isoformat()) as running:
        yield running


@pytest.fixture
def services(
    trading_database: TradingDatabase, twin: TwinHandle, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> Iterator[Services]:
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("TRADEWINDS_ALPACA_BASE_URL", twin.url)
    monkeypatch.setenv("TRADEWINDS_ALPACA_DATA_URL", twin.url)
    settings = load_settings()
    wired = Services(settings)
    engine = make_engine(trading_database.app_url, settings.database)
    wired.__dict__["engine"] = engine
    monkeypatch.setattr(wiring, "services", lambda: wired)
    yield wired
    engine.dispose()


def rows(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table)))


def at(services: Services, twin: TwinHandle, moment: datetime) -> datetime:
    """Move the market and do what a cycle does before its signals; return the slot."""
    twin.admin.move_clock(moment.isoformat())
    gate = services.execution.cycle.open_gate()
    services.ingestion.fetch_bars(services.strategy.symbols_to_watch(), gate.slot, 500)
    return gate.slot


def signal(services: Services, slot: datetime, now: datetime) -> Any:
    (found,) = services.strategy.evaluate_slot(slot, now, now.replace(hour=21, minute=0, second=0)).signals
    return found


def test_a_split_freezes_and_a_new_fit_on_adjusted_history_releases(services: Services, twin: TwinHandle) -> None:
    runner = CliRunner()
    assert runner.invoke(application(), ["pairs", "add", PAIR]).exit_code == 0
    (before,) = rows(services.engine, pair_registry)
    twin.admin.post(
        "corporate-actions", type="forward_split", symbol="KELV", ex_date="2025-03-04", old_rate=1, new_rate=2
    )
    twin.admin.move_clock(MORNING.isoformat())
    services.execution.cycle.open_gate()
    early = runner.invoke(application(), ["pairs", "rebase", PAIR, "--why", "too early"])

    slot = at(services, twin, LATER)
    frozen = signal(services, slot, LATER)
    done = runner.invoke(application(), ["pairs", "rebase", PAIR, "--why", "split 2 for 1"])

    assert isinstance(early.exception, InputInvalid)
    assert "once an hour is finished" in str(early.exception)
    assert (frozen.action, frozen.reason) == (SignalAction.NO_DECISION, Reason.FROZEN)
    assert done.exit_code == 0, done.output
    (after,) = rows(services.engine, pair_registry)
    assert after.version == before.version + 1
    assert after.mode == PairMode.ACTIVE
    # ln P1 is ln 2 lower on the new basis, and so is the constant; the hedge ratio stays.
    assert after.alpha - before.alpha == pytest.approx(-0.6931, abs=0.1)
    assert after.beta == pytest.approx(before.beta, rel=0.05)
    (freeze,) = rows(services.engine, pair_freeze)
    assert freeze.released_at is not None
    assert [row.what for row in rows(services.engine, audit_log)][-1] == "pair re-based"

    slot = at(services, twin, LATER + timedelta(hours=1))
    assert signal(services, slot, LATER + timedelta(hours=1)).reason != Reason.FROZEN


def test_a_series_on_another_basis_keeps_its_pairs_from_entries_until_they_are_fitted_anew(
    services: Services, twin: TwinHandle
) -> None:
    runner = CliRunner()
    assert runner.invoke(application(), ["pairs", "add", PAIR]).exit_code == 0
    (fitted,) = rows(services.engine, pair_registry)
    series = {"symbol": "KYLO", "timeframe": "1Hour", "vendor": "alpaca", "adjustment": "split"}
    rebase = {"rebase_id": uuid4(), **series, "factor": 0.5, "reason": "test", "load_run_id": uuid4()}
    with services.engine.begin() as connection:
        connection.execute(insert(series_rebase).values(**rebase, effective_at=fitted.fitted_to))

    slot = at(services, twin, LATER)
    frozen = signal(services, slot, LATER)
    done = runner.invoke(application(), ["pairs", "rebase", PAIR, "--why", "new basis"])
    slot = at(services, twin, LATER + timedelta(hours=1))

    assert (frozen.action, frozen.reason) == (SignalAction.NO_DECISION, Reason.FROZEN)
    assert done.exit_code == 0, done.output
    assert signal(services, slot, LATER + timedelta(hours=1)).reason != Reason.FROZEN


def test_another_vendors_series_is_nothing_to_a_pair(services: Services, twin: TwinHandle) -> None:
    assert CliRunner().invoke(application(), ["pairs", "add", PAIR]).exit_code == 0
    (fitted,) = rows(services.engine, pair_registry)
    series = {"symbol": "KYLO", "timeframe": "1Hour", "vendor": "yahoo", "adjustment": "split"}
    rebase = {"rebase_id": uuid4(), **series, "factor": 0.5, "reason": "test", "load_run_id": uuid4()}
    with services.engine.begin() as connection:
        connection.execute(insert(series_rebase).values(**rebase, effective_at=fitted.fitted_to))

    assert signal(services, at(services, twin, LATER), LATER).reason != Reason.FROZEN


def test_a_pair_that_is_not_frozen_has_nothing_to_rebase(services: Services, twin: TwinHandle) -> None:
    CliRunner().invoke(application(), ["pairs", "add", PAIR])

    result = CliRunner().invoke(application(), ["pairs", "rebase", PAIR, "--why", "no reason"])

    assert isinstance(result.exception, InputInvalid)
    assert "not frozen" in str(result.exception)


def test_a_pair_whose_symbol_changed_is_to_be_named_anew(services: Services, twin: TwinHandle) -> None:
    CliRunner().invoke(application(), ["pairs", "add", PAIR])
    twin.admin.post("corporate-actions", type="name_change", symbol="KELV", ex_date="2025-03-04", new_symbol="KLVN")
    at(services, twin, LATER)

    result = CliRunner().invoke(application(), ["pairs", "rebase", PAIR, "--why", "new name"])
    added = CliRunner().invoke(application(), ["pairs", "add", "KLVN/KYLO"])

    assert "pairs add" in str(result.exception)
    assert added.exit_code == 0, added.output
