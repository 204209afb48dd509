from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.shared.infra.embedded.postgres import EmbeddedPostgres
from src.shared.infra.embedded.redis import EmbeddedRedis
from tests.chaos.scene import FIT_UNTIL, Scene, scene
from tests.fakes.twin_server import running_twin


@pytest.fixture(scope="session")
def slot_scene(
    embedded_postgres: EmbeddedPostgres, trading_template: str, embedded_redis: EmbeddedRedis
) -> Iterator[Scene]:
    with (
        running_twin(clock=FIT_UNTIL.isoformat()) as twin,
        scene(embedded_postgres, trading_template, embedded_redis.url(), twin) as made,
    ):
        yield made
