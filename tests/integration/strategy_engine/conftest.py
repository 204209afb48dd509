from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import build
from src.services.strategy_engine.use_cases import StrategyEngine
from src.shared.infra.database.engine import make_engine
from tests.conftest import TradingDatabase


@pytest.fixture
def engine(trading_database: TradingDatabase) -> Iterator[Engine]:
    engine = make_engine(trading_database.app_url, load_settings().database)
    yield engine
    engine.dispose()


@pytest.fixture
def strategy(engine: Engine) -> StrategyEngine:
    return build(load_settings(), engine)
