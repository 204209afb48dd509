"""The engine at work: instances follow their rows, decide when bars are stored, and look at ticks in between.

One engine leads, by a lock that dies with its connection; another waits to become it. Two for a moment do no harm:
each slot of an instance has a unique key. What the bus forgets, the hourly run does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from loguru import logger
from sqlalchemy import Connection, Engine

from src.config.settings import Settings
from src.services.strategy_engine.adapters.tick_stream import TickStream
from src.services.strategy_engine.bootstrap import build_cells, build_slots
from src.services.strategy_engine.use_cases.engine import InstanceEngine
from src.shared.domain.errors import EnvironmentMismatch, Refused, Transient, Unreachable
from src.shared.domain.orders import MarketClock
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.ticks import Tick
from src.shared.infra.alpaca.factory import make_unasked_client
from src.shared.infra.alpaca.keys import broker_keys
from src.shared.infra.bus.backoff import Backoff
from src.shared.infra.bus.redis import RedisBus
from src.shared.infra.bus.ticks import TickChannel
from src.shared.infra.database.closes import VENDOR
from src.shared.infra.database.election import await_notification, elected, hear
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.locks import lock_key
from src.shared.infra.database.revisions import check
from src.shared.infra.embedded.stack import redis_address, trading_database_url
from src.shared.infra.environment import check_settings
from src.shared.infra.heartbeat import CONNECTED, STRATEGY_ENGINE, Heartbeat
from src.shared.messages.envelope import Envelope, EventUnreadable
from src.shared.messages.market_data import MarketDataStored
from src.shared.ports.event_bus import EventBus

_KEY = lock_key("strategy engine")
_CHANNEL = "strategy_instance"
_BEAT_SECONDS = 15.0
_BEATS_MISSED = 4
_JOIN_SECONDS = 8.0
_TICK_SECONDS = 0.5
_REFUSED_SECONDS = 300.0


@dataclass(frozen=True)
class Pauses:
    """Seconds to wait.

    Between looks at the rows when nobody tells of a change, between stores of what ticks changed, and between looks
    whether another engine still leads.
    """

    reconcile: float = 10.0
    flush: float = 1.0
    standby: float = 2.0


@dataclass
class News:
    """What came while the engine was busy: the newest slot, the newest tick of each symbol, and changed rows."""

    slot: datetime | None = None
    ticks: dict[str, Tick] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _there: threading.Event = field(default_factory=threading.Event)

    def tell(self, *, slot: datetime | None = None, tick: Tick | None = None, rows: Sequence[str] = ()) -> None:
        """Add to it."""
        with self._lock:
            if slot is not None and (self.slot is None or slot > self.slot):
                self.slot = slot
            if tick is not None:
                self.ticks[tick.symbol] = tick
            self.rows.update(rows)
        self._there.set()

    def take(self, seconds: float) -> tuple[datetime | None, dict[str, Tick], set[str]]:
        """Wait at most so long for news, and take what there is."""
        self._there.wait(seconds)
        self._there.clear()
        with self._lock:
            taken = self.slot, self.ticks, self.rows
            self.slot, self.ticks, self.rows = None, {}, set()
        return taken


@dataclass
class Server:
    """Leads, hears and lets the engine work, until it is told to stop."""

    database: Engine
    engine: InstanceEngine
    bus: EventBus
    ticks: TickChannel
    stream: TickStream
    clock: Callable[[], MarketClock]
    calendar: TradingCalendar
    pauses: Pauses
    beat: Callable[[str], None]
    stand_by: Callable[[str], None]

    def run(self, stop: threading.Event, *, waits_for_another: bool = True) -> bool:
        """Work until `stop` is set; servers that are away are waited for. Say whether this engine led at all.

        Where another engine leads, wait to become it, or return at once.
        """
        backoff, has_led = Backoff(), False
        while not stop.is_set():
            try:
                with elected(self.database, _KEY) as connection:
                    if connection is not None:
                        has_led = True
                        backoff.reset()
                        self._lead(connection, stop)
                        continue
                if not waits_for_another:
                    return has_led
                self.stand_by("waiting: another engine leads")
                stop.wait(self.pauses.standby)
            except (Transient, Unreachable) as error:
                self.beat("waiting for PostgreSQL")
                logger.warning("The strategy engine waits: {}", error)
                stop.wait(backoff.next())
        return has_led

    def _lead(self, connection: Connection, stop: threading.Event) -> None:
        hear(connection, _CHANNEL)
        news, ended = News(), threading.Event()
        failures: list[BaseException] = []

        def guarded(part: Callable[[News, threading.Event], None]) -> None:
            try:
                part(news, ended)
            except BaseException as error:
                failures.append(error)
                ended.set()

        parts = (self._work, self._hear_events, self._hear_ticks, self._feed_ticks)
        threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        try:
            self._wait_for_rows(connection, news, stop, ended)
        finally:
            ended.set()
            news.tell()
            for thread in threads:
                thread.join(_JOIN_SECONDS)
        if failures:
            raise failures[0]

    def _wait_for_rows(
        self, connection: Connection, news: News, stop: threading.Event, ended: threading.Event
    ) -> None:
        next_beat = 0.0
        while not (stop.is_set() or ended.is_set()):
            if changed := await_notification(connection, _TICK_SECONDS):
                news.tell(rows=changed)
            if time.monotonic() >= next_beat:
                self.beat(CONNECTED)
                next_beat = time.monotonic() + _BEAT_SECONDS

    def _work(self, news: News, ended: threading.Event) -> None:
        next_look = next_flush = 0.0
        while not ended.is_set():
            slot, ticks, rows = news.take(min(self.pauses.reconcile, self.pauses.flush))
            now = time.monotonic()
            if rows:
                self.engine.reconcile(rows)
            if now >= next_look:
                self.engine.look()
                next_look = now + self.pauses.reconcile
            if slot is not None:
                self._run_slot(slot)
            self.engine.take(ticks)
            if now >= next_flush:
                self.engine.flush()
                next_flush = now + self.pauses.flush
        self.engine.flush()

    def _run_slot(self, slot: datetime) -> None:
        try:
            clock = self.clock()
        except (Transient, Refused) as error:
            logger.warning("Slot {} is left to the hourly run: {}", slot, error)
            return
        # Bars of the past are loaded too; they are no reason to decide about it.
        if slot == self.calendar.last_slot(clock.now.astimezone(UTC)):
            run = self.engine.run_slot(slot, clock.now.astimezone(UTC), clock.next_close.astimezone(UTC))
            logger.info("Slot {}: {}", slot, run.counts)

    def _hear_events(self, news: News, ended: threading.Event) -> None:
        backoff = Backoff()
        while not ended.is_set():
            try:
                with self.bus.subscribe((MarketDataStored.channel(),)) as heard:
                    while not ended.is_set():
                        envelope = heard.receive(_TICK_SECONDS)
                        backoff.reset()
                        if envelope is not None:
                            _tell_slot(envelope, news)
            except (Transient, Unreachable) as error:
                logger.warning("The strategy engine does not hear of new bars: {}", error)
                ended.wait(backoff.next())

    def _hear_ticks(self, news: News, ended: threading.Event) -> None:
        backoff = Backoff()
        while not ended.is_set():
            try:
                with self.ticks.hearing() as heard:
                    while not ended.is_set():
                        if (tick := heard.next(_TICK_SECONDS)) is not None:
                            news.tell(tick=tick)
                        backoff.reset()
            except Transient as error:
                logger.warning("The strategy engine does not hear ticks: {}", error)
                ended.wait(backoff.next())

    def _feed_ticks(self, _: News, ended: threading.Event) -> None:
        """Bring trades from the exchange to Redis, of the symbols that somebody looks at; none, no connection."""
        backoff = Backoff()
        while not ended.wait(_TICK_SECONDS):
            if not (wanted := self.engine.heard):
                continue
            try:
                with self.stream.listening(wanted) as trades:
                    logger.info("Ticks of {} symbols are followed.", len(wanted))
                    while not ended.is_set() and self.engine.heard == wanted:
                        for tick in trades.next(_TICK_SECONDS):
                            self.ticks.publish(tick)
                        backoff.reset()
            except Transient as error:
                logger.warning("There are no ticks: {}", error)
                ended.wait(backoff.next())
            except EnvironmentMismatch as error:
                # Slots need no ticks: a plan without them must not keep instances from deciding.
                logger.error("There are no ticks: {}", error)
                ended.wait(_REFUSED_SECONDS)


def _tell_slot(envelope: Envelope, news: News) -> None:
    try:
        event = envelope.event()
    except EventUnreadable as error:
        logger.warning("An event is left aside: {}", error)
        return
    if isinstance(event, MarketDataStored) and event.vendor == VENDOR:
        news.tell(slot=event.occurred_at.astimezone(UTC))


def serve(settings: Settings, stop: threading.Event) -> None:
    """Run instances until `stop` is set.

    Raises:
        UserError: keys, address or database do not fit together; a person has to mend it.
    """
    with _wired(settings) as server:
        server.run(stop)


def lead_for(settings: Settings, seconds: float) -> bool:
    """Run instances for so long, unless another engine does; say whether this one did.

    Raises:
        UserError: as `serve`.
    """
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    try:
        with _wired(settings) as server:
            return server.run(stop, waits_for_another=False)
    finally:
        timer.cancel()


@contextmanager
def _wired(settings: Settings) -> Iterator[Server]:
    check_settings(settings)
    url = trading_database_url(settings)
    check(url)
    with ExitStack() as held:
        database = make_engine(url, settings.database)
        held.callback(database.dispose)
        cells = held.enter_context(build_cells(settings))
        bus = RedisBus(redis_address(settings), settings.redis.timeout_seconds)
        held.callback(bus.close)
        ticks = TickChannel(redis_address(settings))
        held.callback(ticks.close)
        client = make_unasked_client(settings, database)
        heartbeat = Heartbeat(redis_address(settings), STRATEGY_ENGINE, _BEAT_SECONDS * _BEATS_MISSED)
        engine = InstanceEngine(build_slots(settings, database, cells))
        pauses = Pauses(reconcile=settings.strategy.reconcile_seconds)
        stream = TickStream(settings.data_stream_url, broker_keys(settings), settings.broker.connect_timeout_seconds)
        calendar = TradingCalendar()
        signs = heartbeat.beat, heartbeat.stand_by
        yield Server(database, engine, bus, ticks, stream, client.clock, calendar, pauses, *signs)
