"""The notification service on real servers: people read each event that matters, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from loguru import logger
from sqlalchemy import Engine, create_engine, select

from src.config.settings import Settings, load_settings
from src.services.notification.serve import notify_pending, serve
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.database.tables import alert, outbox
from src.shared.infra.database.unit_of_work import outbox_row
from src.shared.infra.embedded.ports import free_port
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.messages.base import Event
from src.shared.messages.orders import OrderFilled, PairClosed, PairOpened
from tests.conftest import TradingDatabase
from tests.fakes.events import example
from tests.integration.bus.conftest import running
from tests.polling import BOUND, eventually

OPENED = "Opened SPY/QQQ long spread: both legs are filled [2026-03-09T14:30Z]"
CLOSED = "Closed SPY/QQQ long spread: -$1,234.57, because: z is -2.31 [2026-03-09T14:30Z]"


@pytest.fixture
def settings(
    trading_database: TradingDatabase,
    embedded_redis: EmbeddedRedis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Settings:
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_DATABASE_URL", trading_database.url(driver="libpq"))
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", embedded_redis.url())
    return load_settings()


@pytest.fixture
def engine(trading_database: TradingDatabase) -> Iterator[Engine]:
    made = create_engine(trading_database.app_url)
    yield made
    made.dispose()


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What people read: level and text."""
    lines: list[str] = []
    sink = logger.add(
        lambda message: lines.append(str(message).rstrip("\n")), format="{level} {message}", filter=_ours
    )
    yield lines
    logger.remove(sink)


def _ours(record: object) -> bool:
    return "event_id" in record["extra"]  # type: ignore[index]


def _record(engine: Engine, *events: Event) -> None:
    for event in events:
        with engine.begin() as connection:
            connection.execute(outbox.insert().values(outbox_row(event)))


def test_pending_events_are_told_once_in_order(settings: Settings, engine: Engine, told: list[str]) -> None:
    _record(engine, example(PairOpened, version=1), example(OrderFilled), example(PairClosed, version=2))

    handled = [notify_pending(settings), notify_pending(settings)]

    assert handled == [3, 0]
    assert told == [f"INFO {OPENED}", f"INFO {CLOSED}"]


def test_pending_events_are_told_while_redis_is_away(
    settings: Settings, engine: Engine, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    _record(engine, example(PairOpened))

    assert notify_pending(load_settings()) == 1
    assert told == [f"INFO {OPENED}"]


def test_an_event_of_a_newer_version_is_parked_and_the_next_is_told(
    settings: Settings, engine: Engine, told: list[str]
) -> None:
    strange = outbox_row(example(PairOpened, version=1)) | {"channel": "tradewinds.orders.PairTeleported"}
    with engine.begin() as connection:
        connection.execute(outbox.insert().values(strange))
    _record(engine, example(PairClosed, version=2))

    assert notify_pending(settings) == 1
    assert told == [f"INFO {CLOSED}"]
    with engine.connect() as connection:
        assert "PairTeleported" in connection.execute(select(alert.c.detail)).scalar_one()


def test_the_service_publishes_and_tells_what_happens_until_it_is_stopped(
    settings: Settings, engine: Engine, told: list[str], embedded_redis: EmbeddedRedis
) -> None:
    bus = RedisBus(embedded_redis.url())

    with bus.subscribe() as witness, running(partial(serve, settings)):
        _record(engine, example(PairOpened, version=1), example(PairClosed, version=2))
        eventually(lambda: len(told) == 2)
        published = [received.event() for _ in range(2) if (received := witness.receive(BOUND))]
    bus.close()

    assert told == [f"INFO {OPENED}", f"INFO {CLOSED}"]
    assert published == [example(PairOpened, version=1), example(PairClosed, version=2)]


def test_two_services_at_once_tell_everything_once(settings: Settings, engine: Engine, told: list[str]) -> None:
    with running(partial(serve, settings), partial(serve, settings)):
        for version in range(1, 21):
            _record(engine, example(PairOpened, version=version))
        eventually(lambda: len(told) == 20)

    assert told == [f"INFO {OPENED}"] * 20


def test_a_service_without_its_tables_ends_with_an_error_instead_of_hanging(
    settings: Settings, trading_database: TradingDatabase
) -> None:
    owner = create_engine(trading_database.owner_url)
    with owner.begin() as connection:
        connection.exec_driver_sql("DROP TABLE ops.consumer_position")
    owner.dispose()

    with pytest.raises(Exception, match="consumer_position"):
        serve(settings, threading.Event())
