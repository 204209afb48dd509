from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import TradingDatabase
from tests.fakes.twin_server import TwinHandle, running_twin
from tests.faults.scene import MARKET_SEED, Scene, open_scene

PATIENT = 10.0


@pytest.fixture(scope="session")
def venue() -> Iterator[TwinHandle]:
    """One twin for all tests; a scene begins with nothing in it."""
    with running_twin(seed=MARKET_SEED) as twin:
        yield twin


@pytest.fixture
def read_seconds() -> float:
    """How long the client waits for an answer; a test of time-outs says less."""
    return PATIENT


@pytest.fixture
def scene(venue: TwinHandle, trading_database: TradingDatabase, read_seconds: float) -> Iterator[Scene]:
    """A scene at which nothing has been traded."""
    with open_scene(trading_database.app_url, venue, read_seconds) as made:
        yield made
