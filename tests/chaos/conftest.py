from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.shared.infra.embedded.postgres import EmbeddedPostgres
from src.shared.infra.embedded.redis import EmbeddedRedis
from tests.chaos.scene import Outcome, Scene, scene
from tests.conftest import TradingDatabase
from tests.fakes.twin_server import running_twin
from tests.integration.execution.processes import START, Floor, open_floor


@pytest.fixture(scope="session")
def slot_scene(
    embedded_postgres: EmbeddedPostgres, trading_template: str, embedded_redis: EmbeddedRedis
) -> Iterator[Scene]:
    with scene(embedded_postgres, trading_template, embedded_redis.url()) as made:
        yield made


@pytest.fixture
def floor(trading_database: TradingDatabase) -> Iterator[Floor]:
    """One pair, ready to be entered and left slot by slot."""
    with running_twin(clock=START.isoformat()) as twin, open_floor(trading_database.app_url, twin) as made:
        yield made


@pytest.fixture(scope="session")
def undisturbed(slot_scene: Scene) -> Outcome:
    """What the slot comes to when nothing happens."""
    with slot_scene.fresh() as stage:
        assert stage.run() == 0
        assert stage.complaints() == []
        return stage.outcome()
