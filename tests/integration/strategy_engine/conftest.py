from __future__ import annotations

import pytest
from sqlalchemy import Engine

from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import build
from src.services.strategy_engine.use_cases.slots import StrategyEngine


@pytest.fixture
def strategy(engine: Engine) -> StrategyEngine:
    return build(load_settings(), engine)
