"""A desk for every test of execution, and a floor for those whose broker is a twin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.config.settings import load_settings
from src.services.execution.bootstrap import build
from src.shared.infra.database.engine import make_engine
from tests.conftest import TradingDatabase
from tests.fakes.broker import FakeBroker, FakeClock
from tests.fakes.twin_server import running_twin
from tests.integration.execution.desk import Desk, register_pairs
from tests.integration.execution.processes import START, Floor, open_floor


@pytest.fixture
def desk(trading_database: TradingDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Yield a desk with three pairs, at which nothing has been traded."""
    monkeypatch.setenv("TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS", "0.2")
    settings = load_settings()
    engine = make_engine(trading_database.app_url, settings.database)
    broker = FakeBroker()
    register_pairs(engine)
    yield Desk(build(settings, engine, broker, FakeClock()), broker, engine)
    engine.dispose()


@pytest.fixture
def floor(trading_database: TradingDatabase) -> Iterator[Floor]:
    """Yield a floor with one pair and a twin, before its first slot."""
    with running_twin(clock=START.isoformat()) as twin, open_floor(trading_database.app_url, twin) as made:
        yield made
