"""A desk for every test of execution."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.config.settings import load_settings
from src.services.execution.bootstrap import build
from src.shared.infra.database.engine import make_engine
from tests.conftest import TradingDatabase
from tests.fakes.broker import FakeBroker, FakeClock
from tests.integration.execution.desk import Desk, register_pairs


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
