"""The listener on real PostgreSQL and a twin: whatever the stream does, fills are booked once and soon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from src.config.settings import load_settings
from src.services.execution.adapters.trade_stream import TradeStream
from src.services.execution.listen import Books, Listener, LiveBooks, Pauses
from src.shared.domain.errors import EnvironmentMismatch
from src.shared.domain.signals import SignalAction
from src.shared.infra.alpaca.keys import broker_keys
from src.shared.infra.database.tables import alert, fill, quarantine
from src.shared.infra.embedded.redis import EmbeddedRedis
from tests.integration.execution.processes import FIRST, ROOT, SECOND, START, Floor, approve
from tests.polling import BOUND, eventually

HARDLY_EVER = 3600.0
"""Seconds between looks of the listener's own accord: longer than any test."""

# A look does not stay until an order fills: the next one needs a reason of its own.
BRIEF_LOOKS = {
    "TRADEWINDS_EXECUTION_PASS_WAIT_SECONDS": "1",
    "TRADEWINDS_EXECUTION_LEG_DEADLINE_SECONDS": "7200",
}


class StreamServer:
    """A trade_updates server that says what the test wants, to whoever is connected."""

    def __init__(self) -> None:
        self.url = ""
        self.refusal: str | None = None
        self.met = 0
        self._connected: list[ServerConnection] = []

    def handle(self, connection: ServerConnection) -> None:
        self.met += 1
        try:
            connection.recv(timeout=BOUND)
            status = {"status": "unauthorized", "message": self.refusal} if self.refusal else {"status": "authorized"}
            connection.send(json.dumps({"stream": "authorization", "data": status}))
            if self.refusal:
                return
            connection.recv(timeout=BOUND)
            connection.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}).encode())
            self._connected.append(connection)
            for _ in connection:
                pass
        except ConnectionClosed:
            return
        finally:
            self._connected = [each for each in self._connected if each is not connection]

    def is_heard(self) -> bool:
        return bool(self._connected)

    def say(self, *frames: str | bytes) -> None:
        for frame in frames:
            self._connected[0].send(frame)

    def hang_up(self) -> None:
        self._connected[0].socket.shutdown(2)


@pytest.fixture
def stream() -> Iterator[StreamServer]:
    scripted = StreamServer()
    with serve(scripted.handle, "127.0.0.1", 0) as server:
        scripted.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield scripted
        server.shutdown()
        thread.join(BOUND)


@dataclass
class CountedBooks:
    """Counts the looks that were finished; raises what a test wants instead of the next ones."""

    real: Books
    looks: int = 0
    failures: list[Exception] = field(default_factory=list)

    def carry_on(self) -> Sequence[str]:
        if self.failures:
            raise self.failures.pop()
        unfinished = self.real.carry_on()
        self.looks += 1
        return unfinished

    def set_aside(self, messages: Any) -> None:
        self.real.set_aside(messages)

    def close(self) -> None:
        self.real.close()


@pytest.fixture
def books(floor: Floor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CountedBooks:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_DATABASE_URL", floor.database_url)
    for name, value in BRIEF_LOOKS.items():
        monkeypatch.setenv(name, value)
    return CountedBooks(LiveBooks(load_settings()))


@contextmanager
def listening(url: str, books: Books, quiet: float = HARDLY_EVER) -> Iterator[None]:
    """Run a listener in threads; what ends it fails the test."""
    stop, failures = threading.Event(), list[BaseException]()
    pauses = Pauses(gather=0.01, quiet=quiet, busy=0.1, taken=0.2, longest_retry=0.2)
    listener = Listener(
        TradeStream(url, broker_keys(load_settings()), 5.0), books, "tw-twin-", pauses, lambda _: None
    )

    def run() -> None:
        try:
            listener.run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(BOUND)
    assert failures == []


def an_order_rests(floor: Floor) -> None:
    """Leave the first order of an entry at the broker, unfilled, by a process that ended right after sending it."""
    slot = next(floor.slots)
    floor.twin.admin.move_clock((slot + timedelta(seconds=5)).isoformat())
    approve(floor.engine, slot, SignalAction.ENTER_LONG)
    for symbol in (FIRST, SECOND):
        floor.twin.admin.rules(symbol, no_fill=True)
    gate = floor.service.cycle.open_gate()
    client: Any = floor.broker
    send = client.submit_market_order

    def end_after(*args: Any, **options: Any) -> None:
        send(*args, **options)
        raise KeyboardInterrupt

    client.submit_market_order = end_after
    with pytest.raises(KeyboardInterrupt):
        floor.service.cycle.execute_slot(gate)
    client.submit_market_order = send
    assert floor.orders() == 1


def it_fills(floor: Floor) -> None:
    for symbol in (FIRST, SECOND):
        floor.twin.admin.rules(symbol, no_fill=False)
    # An order that rested is filled at the open of a bar to come; the hour of the entry is not over then.
    floor.twin.admin.move_clock((START + timedelta(minutes=35)).isoformat())


def update_of(floor: Floor, event: str, **order: Any) -> str:
    """Write an update about the resting order as the broker does."""
    told = {**floor.twin.admin.state()["orders"][0], **order}
    return json.dumps({"stream": "trade_updates", "data": {"event": event, "order": told, "price": "1", "qty": "9"}})


def whole(floor: Floor) -> None:
    """Both legs are held, each order and each fill once, and the books say the same."""
    eventually(lambda: floor.states() == ["open"])
    assert floor.held() == {FIRST: 5, SECOND: -4}
    assert floor.orders() == 2
    with floor.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(fill)).scalar_one() == 2
    assert floor.broken_invariants() == []


def settled(books: CountedBooks, stream: StreamServer) -> Callable[[], bool]:
    return lambda: stream.is_heard() and books.looks > 0


def test_fault_19_a_fill_told_twice_and_by_rest_is_booked_once(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books):
        an_order_rests(floor)
        eventually(settled(books, stream))
        it_fills(floor)
        told = update_of(floor, "fill", status="filled", filled_qty="4")
        stream.say(told, told.encode(), told)

        whole(floor)


def test_fault_20_updates_out_of_order_lead_to_the_same_books(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books):
        an_order_rests(floor)
        eventually(settled(books, stream))
        it_fills(floor)
        stream.say(update_of(floor, "fill", status="filled", filled_qty="4"), update_of(floor, "new", status="new"))

        whole(floor)


def test_fault_20_fills_that_are_told_before_the_answer_to_their_order_are_booked_once(
    floor: Floor, books: CountedBooks
) -> None:
    floor.twin.admin.fault(kind="before_http", seconds=0.5)
    with listening(floor.twin.url, books):
        eventually(lambda: books.looks > 0)
        floor.next_slot(SignalAction.ENTER_LONG)
        floor.run_here()

        whole(floor)
    assert floor.twin.admin.faults()[0]["fired"] == 2


def test_fault_21_a_gap_in_the_stream_is_closed_by_rest(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books):
        eventually(settled(books, stream))
        an_order_rests(floor)
        it_fills(floor)
        assert floor.states() == ["opening"]
        stream.hang_up()

        whole(floor)
        assert stream.met == 2


def test_fault_21_a_stream_that_stays_mute_is_not_waited_for(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books, quiet=0.1):
        eventually(settled(books, stream))
        an_order_rests(floor)
        it_fills(floor)

        whole(floor)
        assert stream.met == 1


def test_fault_22_what_can_not_be_read_is_set_aside_with_an_alert_and_the_rest_goes_on(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books):
        eventually(settled(books, stream))
        an_order_rests(floor)
        strange = update_of(floor, "teleported"), update_of(floor, "fill", status="entangled", filled_qty=10**300)
        stream.say("{", b"\xff\xfe", '{"stream": "trade_updates", "data": null}', *strange, strange[0])
        eventually(lambda: _count(floor, quarantine) == 5)
        it_fills(floor)
        stream.say(update_of(floor, "fill", status="filled"))

        whole(floor)
    assert _count(floor, alert) == 5


def test_fault_23_a_look_that_fails_is_repeated_without_another_message(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books):
        an_order_rests(floor)
        eventually(settled(books, stream))
        it_fills(floor)
        books.failures += [RuntimeError("a bug"), ConnectionResetError("the database's own words")]
        stream.say(update_of(floor, "fill", status="filled"))

        # A look that was under way may bring the fill before any of them fails.
        eventually(lambda: books.failures == [])
        whole(floor)


def test_an_account_that_somebody_trades_is_looked_at_afterwards(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    with listening(stream.url, books):
        eventually(settled(books, stream))
        an_order_rests(floor)
        with floor.service.cycle.become_writer():
            it_fills(floor)
            before = books.looks
            stream.say(update_of(floor, "fill", status="filled"))
            assert floor.states() == ["opening"]

        eventually(lambda: books.looks > before)
        whole(floor)


def test_a_stream_that_is_taken_is_asked_again_and_fills_are_booked_meanwhile(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    stream.refusal = "connection limit exceeded"
    with listening(stream.url, books, quiet=0.1):
        an_order_rests(floor)
        it_fills(floor)
        whole(floor)
        stream.refusal = None
        eventually(stream.is_heard)


def test_keys_that_the_stream_refuses_end_the_listener_with_what_to_correct(
    stream: StreamServer, floor: Floor
) -> None:
    stream.refusal = "access key verification failed"
    with pytest.raises(EnvironmentMismatch, match="TRADEWINDS_ALPACA_API_KEY"), _stream(stream.url).listening():
        pytest.fail("it was let in")


@pytest.fixture
def listener(
    floor: Floor, embedded_redis: EmbeddedRedis, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the process as `tradewinds up` does; it has connected when its log says so."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> subprocess.Popen[bytes]:
        variables = {
            "TRADEWINDS_HOME": str(tmp_path),
            "TRADEWINDS_DATABASE_URL": floor.database_url,
            "TRADEWINDS_REDIS_URL": embedded_redis.url(),
            "TRADEWINDS_EXECUTION_LISTEN_QUIET_SECONDS": str(HARDLY_EVER),
            **BRIEF_LOOKS,
            **more,
        }
        log = tmp_path / f"listener-{len(started)}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "src.services.execution.main", "listen"]
            started.append(
                subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=output, stderr=output)
            )
        process = started[-1]
        eventually(lambda: process.poll() is not None or b"Listening to" in log.read_bytes(), 2 * BOUND)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(BOUND)


def test_a_process_that_only_hears_the_twins_stream_books_a_fill(floor: Floor, listener: Any) -> None:
    process = listener()
    an_order_rests(floor)
    it_fills(floor)
    # Only now, as the clock moves, does the venue fill the order: nobody but the stream tells of it.
    floor.twin.admin.move_clock(floor.twin.admin.get("clock")["now"])

    whole(floor)
    process.send_signal(signal.SIGTERM)
    assert process.wait(BOUND) == 0


def test_a_listener_killed_and_started_again_takes_in_what_it_missed(floor: Floor, listener: Any) -> None:
    first = listener()
    an_order_rests(floor)
    first.kill()
    first.wait(BOUND)
    it_fills(floor)

    listener()

    whole(floor)


def test_a_listener_outlives_a_database_that_throws_everybody_out(
    floor: Floor, listener: Any, trading_database: Any
) -> None:
    process = listener()
    an_order_rests(floor)
    with psycopg.connect(trading_database.url("postgres", "libpq"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    it_fills(floor)
    floor.twin.admin.move_clock(floor.twin.admin.get("clock")["now"])

    whole(floor)
    assert process.poll() is None


def test_a_listener_compares_books_and_broker_when_it_starts(
    floor: Floor, stream: StreamServer, books: CountedBooks
) -> None:
    floor.next_slot(SignalAction.ENTER_LONG)
    floor.run_here()
    floor.twin.order_by_hand(FIRST, -1)
    eventually(lambda: floor.held() == {FIRST: 4, SECOND: -4})
    assert _count(floor, alert) == 0

    with listening(stream.url, books):
        eventually(settled(books, stream))

    with floor.engine.connect() as connection:
        assert connection.execute(select(alert.c.title)).scalars().all() == ["somebody else trades what we hold"]


def test_bad_keys_are_one_line_and_exit_code_2(floor: Floor, listener: Any, tmp_path: Path) -> None:
    process = listener(
        TRADEWINDS_ALPACA_ENVIRONMENT="twin", TRADEWINDS_ALPACA_API_KEY="BADKEY", TRADEWINDS_ALPACA_SECRET_KEY="hush"
    )

    assert process.wait(BOUND) == 2
    said = (tmp_path / "listener-0.log").read_text()
    assert "TRADEWINDS_ALPACA_API_KEY" in said
    assert "Traceback" not in said
    assert "hush" not in said


def _stream(url: str) -> TradeStream:
    return TradeStream(url, broker_keys(load_settings()), 5.0)


def _count(floor: Floor, table: Any) -> int:
    with floor.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
