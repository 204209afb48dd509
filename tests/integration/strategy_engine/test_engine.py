"""The engine on real servers: it follows the rows, and nothing is lost or done twice when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from src.config.settings import load_settings
from src.services.strategy_engine.adapters.tick_stream import TickStream
from src.services.strategy_engine.serve import Pauses, Server, lead_for
from src.services.strategy_engine.use_cases.engine import InstanceEngine
from src.shared.domain.ids import slot_key
from src.shared.domain.instances import DEFAULT_PAIRS, InstanceMode
from src.shared.domain.orders import MarketClock
from src.shared.domain.ticks import Tick
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.ticks import TickChannel
from src.shared.infra.embedded.redis import EmbeddedRedis
from src.shared.messages.envelope import Envelope
from src.shared.messages.market_data import MarketDataStored
from src.shared.prefect.config import SOURCE_ROOT
from tests.conftest import TradingDatabase
from tests.fakes.stored_market import store_closes
from tests.fakes.strategy_runner import InlineRunner
from tests.fakes.twin_server import running_twin
from tests.integration.strategy_engine.test_evaluate_slot import CALENDAR, CLOSE, NEXT_SLOT, SLOT, SOON, rows
from tests.integration.strategy_engine.test_instance_slots import PERSON, Desk
from tests.polling import eventually

# Nobody listens there: ticks come from the test.
NOWHERE = TickStream("ws://127.0.0.1:1/v2/iex", (SecretStr("key"), SecretStr("secret")), 0.2)
QUICK = Pauses(reconcile=0.1, flush=0.05, standby=0.05)
DECIDED = "SELECT instance_id, slot, mode FROM strategy.instance_decision ORDER BY instance_id, slot"


@pytest.fixture
def at_desk(engine: Engine, tmp_path: Path) -> Desk:
    desk = Desk(engine, tmp_path)
    desk.instances.mode(DEFAULT_PAIRS, InstanceMode.OFF, **PERSON)
    store_closes(engine, ["KO"], [SLOT, NEXT_SLOT], np.array([[60.0], [61.0]]))
    return desk


def stored(slot: datetime) -> Envelope:
    """The event that bars up to a slot are stored."""
    event = MarketDataStored.of(
        uuid4(), 1, slot, slot_key(slot), vendor="alpaca", symbols=("KO",), rows=1, rejected=0, complete=True
    )
    return Envelope(
        event_id=event.event_id,
        channel=event.channel(),
        position=1,
        payload=event.model_dump(mode="json"),
    )


def remembered(desk: Desk, name: str) -> dict[str, Any]:
    found = {
        each["instance_id"]: each["state"] for each in rows(desk.engine, "SELECT * FROM strategy.instance_state")
    }
    return dict(found.get(name, {}))


def decided(desk: Desk) -> list[tuple[str, datetime]]:
    return [(row["instance_id"], row["slot"]) for row in rows(desk.engine, DECIDED)]


class Running:
    """A server in threads of the test's process, at a time that the test says."""

    def __init__(self, desk: Desk, redis_url: str, stream: TickStream = NOWHERE) -> None:
        self.now = SLOT + SOON
        self.bus, self.ticks = RedisBus(redis_url), TickChannel(redis_url)
        self.engine = InstanceEngine(desk.slots(InlineRunner(desk.folder)))
        self.beats: list[str] = []
        self.server = Server(
            desk.engine,
            self.engine,
            self.bus,
            self.ticks,
            stream,
            self._clock,
            CALENDAR,
            QUICK,
            self.beats.append,
            self.beats.append,
        )

    def _clock(self) -> MarketClock:
        return MarketClock(now=self.now, is_open=True, next_open=CLOSE + timedelta(hours=12), next_close=CLOSE)

    @contextmanager
    def __call__(self) -> Iterator[Running]:
        stop = threading.Event()
        thread = threading.Thread(target=self.server.run, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(30)
            self.bus.close()
            self.ticks.close()
            assert not thread.is_alive()


def test_the_engine_runs_what_the_rows_ask_for_and_only_that(at_desk: Desk, embedded_redis: EmbeddedRedis) -> None:
    at_desk.on("mine")
    at_desk.on("yours")
    with Running(at_desk, embedded_redis.url())() as running:
        eventually(lambda: set(running.engine.running) == {"mine", "yours"})
        at_desk.instances.mode("yours", InstanceMode.OFF, **PERSON)
        at_desk.on("another")
        at_desk.instances.set("mine", {"symbol": "KO"}, **PERSON)

        eventually(lambda: set(running.engine.running) == {"mine", "another"})
        eventually(lambda: running.engine.running["mine"].config_version == 2)


def test_stored_bars_make_instances_decide_once_and_ticks_change_what_they_remember(
    at_desk: Desk, embedded_redis: EmbeddedRedis
) -> None:
    at_desk.on("mine")
    at_desk.on("barless", symbol="PEP")
    with Running(at_desk, embedded_redis.url())() as running:

        def tell() -> bool:
            # The bus forgets what is said before somebody listens.
            running.bus.publish(stored(SLOT))
            running.bus.publish(stored(SLOT - timedelta(hours=1)))
            return decided(at_desk) != []

        def tick() -> bool:
            running.ticks.publish(Tick("KO", 60.5, SLOT + SOON))
            return int(remembered(at_desk, "mine")["ticks"]) > 0

        eventually(tell, pause=0.1)
        eventually(tick, pause=0.1)
        running.now = NEXT_SLOT + SOON
        ticked = remembered(at_desk, "mine")["ticks"]
        running.bus.publish(stored(NEXT_SLOT))
        eventually(lambda: len(decided(at_desk)) == 2)

    # The one without bars is left to the hourly run.
    assert decided(at_desk) == [("mine", SLOT), ("mine", NEXT_SLOT)]
    assert remembered(at_desk, "mine")["calls"] == 2
    assert at_desk.stored("mine")[1]["state_before"]["ticks"] >= ticked


def test_trades_at_the_exchange_come_to_those_who_look_at_them(at_desk: Desk, embedded_redis: EmbeddedRedis) -> None:
    at_desk.on("mine", symbol="KELV")
    at_desk.slots().run_instances(SLOT, SLOT + SOON, CLOSE)
    with running_twin(clock="2025-03-03T15:30:05Z") as twin:
        url = f"{twin.url.replace('http', 'ws', 1)}/v2/iex"
        stream = TickStream(url, (SecretStr("key"), SecretStr("secret")), 5)
        with Running(at_desk, embedded_redis.url(), stream)():
            eventually(lambda: remembered(at_desk, "mine")["ticks"] == 1)
            twin.admin.move_clock("2025-03-03T16:30:05Z")
            eventually(lambda: remembered(at_desk, "mine")["ticks"] == 2)


def test_one_that_trips_over_a_tick_rests_and_the_others_go_on(at_desk: Desk, embedded_redis: EmbeddedRedis) -> None:
    at_desk.on("mine")
    at_desk.on("trips", how="trips")
    at_desk.slots().run_instances(SLOT, SLOT + SOON, CLOSE)
    with Running(at_desk, embedded_redis.url())() as running:

        def tick() -> bool:
            running.ticks.publish(Tick("KO", 60.5, SLOT + SOON))
            return int(remembered(at_desk, "mine")["ticks"]) > 1

        eventually(tick, pause=0.1)
        eventually(lambda: set(running.engine.running) == {"mine"})

    (fault,) = at_desk.instances.show("trips").faults
    assert "over a tick" in fault.detail


def test_a_second_engine_waits_until_the_first_is_gone(at_desk: Desk, embedded_redis: EmbeddedRedis) -> None:
    at_desk.on("mine")
    second = Running(at_desk, embedded_redis.url())
    with Running(at_desk, embedded_redis.url())() as first:
        eventually(lambda: set(first.engine.running) == {"mine"})
        with second():
            eventually(lambda: "waiting: another engine leads" in second.beats)
            assert second.engine.running == {}


def test_the_flows_engine_leads_for_a_while_or_leaves_it_to_another(
    at_desk: Desk,
    trading_database: TradingDatabase,
    embedded_redis: EmbeddedRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_DATABASE_URL", trading_database.url(driver="libpq"))
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", embedded_redis.url())
    with Running(at_desk, embedded_redis.url())() as first:
        eventually(lambda: "connected" in first.beats)
        left = lead_for(load_settings(), 60.0)
    led = lead_for(load_settings(), 0.5)

    assert (left, led) == (False, True)


@pytest.mark.timeout(180)
def test_killed_and_started_again_states_and_modes_come_back_and_nothing_is_done_twice(
    at_desk: Desk, trading_database: TradingDatabase, embedded_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    at_desk.on("mine")
    at_desk.on("loops", how="loops")
    bus, ticks = RedisBus(embedded_redis.url()), TickChannel(embedded_redis.url())
    with running_twin(clock=(SLOT + SOON).isoformat()) as twin:
        environment = {
            "TRADEWINDS_ENV_FILE": os.devnull,
            "TRADEWINDS_HOME": str(tmp_path),
            "TRADEWINDS_DATABASE_URL": trading_database.url(driver="libpq"),
            "TRADEWINDS_REDIS_URL": embedded_redis.url(),
            "TRADEWINDS_ALPACA_BASE_URL": twin.url,
            "TRADEWINDS_ALPACA_DATA_URL": twin.url,
            "TRADEWINDS_STRATEGY_FOLDER": str(at_desk.folder),
            "TRADEWINDS_STRATEGY_CALL_CPU_SECONDS": "0.5",
        }

        def tell() -> bool:
            bus.publish(stored(SLOT))
            return decided(at_desk) == [("mine", SLOT)]

        def ticked(beyond: int) -> bool:
            ticks.publish(Tick("KO", 60.5, SLOT + SOON))
            return int(remembered(at_desk, "mine")["ticks"]) > beyond

        with engine_process(environment) as first:
            eventually(tell, seconds=90, pause=0.2)
            eventually(lambda: ticked(0), pause=0.2)
            cells = first.children()
            assert cells
            first.send_signal(signal.SIGKILL)
            psutil.wait_procs(cells, timeout=30)
            assert not any(cell.is_running() for cell in cells)
        before = remembered(at_desk, "mine")
        with engine_process(environment) as second:
            eventually(lambda: ticked(before["ticks"]), seconds=90, pause=0.2)
            tell()
            at_desk.instances.mode("mine", InstanceMode.OFF, **PERSON)
            second.terminate()
            assert second.wait(30) == 0
    bus.close()
    ticks.close()

    assert decided(at_desk) == [("mine", SLOT)]
    assert remembered(at_desk, "mine")["calls"] == 1
    assert {fault.kind.value for fault in at_desk.instances.show("loops").faults} == {"time_out"}
    assert at_desk.instances.show("mine").standing.instance.mode is InstanceMode.OFF


@contextmanager
def engine_process(environment: dict[str, str]) -> Iterator[psutil.Popen]:
    needed = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWINDS_")}
    process = psutil.Popen(
        [sys.executable, "-m", "src.services.strategy_engine.main", "serve"],
        cwd=SOURCE_ROOT,
        env=needed | environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
