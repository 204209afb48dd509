from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from src.config.settings import load_settings
from src.shared.infra.database.engine import make_engine
from tests.conftest import TradingDatabase


@pytest.fixture
def engine(trading_database: TradingDatabase) -> Iterator[Engine]:
    """A connection pool, as services have it, on the test's own database."""
    made = make_engine(trading_database.app_url, load_settings().database)
    yield made
    made.dispose()
