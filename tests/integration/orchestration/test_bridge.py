"""The bridge on a real outbox: what it asks for, what waits, and what comes too late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, func, select, update

from src.config.settings import load_settings
from src.shared.domain.errors import Transient
from src.shared.infra.bus.consumer import Consumer
from src.shared.infra.bus.memory import MemoryBus
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.infra.database.tables import alert, outbox
from src.shared.infra.database.unit_of_work import SqlUnitOfWork
from src.shared.infra.embedded.ports import free_port
from src.shared.messages.base import Event
from src.shared.messages.risk import TradeApproved
from src.shared.prefect.bridge import Bridge, ask_prefect
from src.shared.prefect.triggers import Start
from tests.conftest import TradingDatabase
from tests.fakes.events import example

WINDOW = timedelta(minutes=1)
START = Start("execute-trades/execute-trades", {"slot": "2026-03-09T14:30Z"}, "key", WINDOW)


class Prefect:
    """Takes what it is asked for, or is away."""

    def __init__(self) -> None:
        self.asked: list[Start] = []
        self.is_away = False

    def __call__(self, start: Start) -> str:
        if self.is_away:
            raise Transient("nobody answers")
        self.asked.append(start)
        return "runs"


@pytest.fixture
def engine(trading_database: TradingDatabase) -> Iterator[Engine]:
    engine = create_engine(trading_database.app_url)
    yield engine
    engine.dispose()


def say(engine: Engine, *events: Event) -> None:
    for event in events:
        with SqlUnitOfWork(engine, lambda connection: connection)() as work:
            work.record(event)
            work.commit()
    OutboxRelay(engine, MemoryBus()).drain()


def test_while_prefect_is_away_an_event_waits_and_is_not_parked(engine: Engine) -> None:
    prefect = Prefect()
    bridge = Bridge("twin", WINDOW, prefect)
    consumer = Consumer("bridge", engine, bridge.take, attempts=1)
    say(engine, example(TradeApproved))

    prefect.is_away = True
    with pytest.raises(Transient):
        consumer.catch_up()
    said = bridge.state
    prefect.is_away = False

    assert (consumer.catch_up(), consumer.catch_up()) == (1, 0)
    assert (said, bridge.state) == ("waiting for Prefect", "connected")
    assert len(prefect.asked) == 1
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(alert)).scalar_one() == 0


def test_an_event_that_is_told_again_after_a_crash_asks_for_the_same_run(engine: Engine) -> None:
    prefect = Prefect()
    say(engine, example(TradeApproved))

    for process in ("before the crash", "after it"):
        Consumer(process, engine, Bridge("twin", WINDOW, prefect).take).catch_up()

    assert len({start.key for start in prefect.asked}) == 1


def test_what_is_older_than_an_hour_starts_nothing(engine: Engine) -> None:
    prefect = Prefect()
    say(engine, example(TradeApproved))
    with engine.begin() as connection:
        connection.execute(update(outbox).values(recorded_at=func.now() - timedelta(minutes=61)))

    handled = Consumer("bridge", engine, Bridge("twin", WINDOW, prefect).take).catch_up()

    assert (handled, prefect.asked) == (1, [])


def test_a_server_that_does_not_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")

    with pytest.raises(Transient, match="Prefect does not answer"):
        ask_prefect(load_settings(), START)
