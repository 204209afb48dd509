"""What a process that follows the outbox holds: the database's pool and the bus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from src.config.settings import Settings
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.database.engine import make_engine
from src.shared.infra.embedded.stack import redis_address, trading_database_url


@contextmanager
def connections(settings: Settings) -> Iterator[tuple[Engine, RedisBus]]:
    """Give both, and let go of them in the end; nothing connects until it is used.

    Raises:
        Unreachable: an embedded server has never been started.
    """
    engine = make_engine(trading_database_url(settings), settings.database)
    bus = RedisBus(redis_address(settings), settings.redis.timeout_seconds)
    try:
        yield engine, bus
    finally:
        bus.close()
        engine.dispose()
