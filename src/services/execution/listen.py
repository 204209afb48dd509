"""The listener at work: one thread hears the broker's stream, the other takes in over REST what it hints at.

Nothing that the stream says is booked. A message about one of our orders, a new connection and every quiet while are
all the same: a reason to carry on what is in motion, as a cycle does; the first one compares books and broker, too.
So a message that is lost, doubled, early or unreadable changes nothing but the moment at which a fill is booked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from loguru import logger
from sqlalchemy import Engine

from src.config.settings import Settings
from src.services.execution.adapters.trade_stream import StreamTaken, TradeStream
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.domain.order_reports import KNOWN_STATUSES
from src.services.execution.domain.trade_updates import Unread, hear
from src.shared.domain.errors import NotTheWriter, Refused, Transient, Unreachable, UserError
from src.shared.domain.ids import client_order_prefix
from src.shared.infra.alpaca.factory import check_account, make_unasked_client
from src.shared.infra.alpaca.keys import broker_keys
from src.shared.infra.bus.backoff import Backoff
from src.shared.infra.database.engine import make_engine
from src.shared.infra.database.revisions import check
from src.shared.infra.embedded.stack import redis_address, trading_database_url
from src.shared.infra.environment import check_settings
from src.shared.infra.heartbeat import CONNECTED, LISTENER, Heartbeat

_TICK_SECONDS = 0.5
_BEAT_SECONDS = 15.0
_BEATS_MISSED = 4
_JOIN_SECONDS = 8.0
_FIRST_RETRY_SECONDS = 0.5
_UNREAD_KEPT = 1000


class Frames(Protocol):
    """The messages of one connection."""

    def next(self, timeout_seconds: float) -> str | bytes | None:
        """Return the next message, None when there was none in time. Raises Transient when the connection is gone."""
        ...


class Stream(Protocol):
    """Where hints come from."""

    def listening(self) -> AbstractContextManager[Frames]:
        """Connect. Raises EnvironmentMismatch, StreamTaken or Transient."""
        ...


class Books(Protocol):
    """What a hint leads to."""

    def carry_on(self) -> Sequence[str]:
        """Take in what the broker says of our orders; return what is not through yet. The first call also compares.

        Raises:
            NotTheWriter, Transient, Unreachable, Refused: as their classes say.
        """
        ...

    def set_aside(self, messages: Sequence[Unread]) -> None:
        """Keep what could not be understood, and tell people. Raises Transient, Unreachable."""
        ...

    def close(self) -> None:
        """Let go of what the books hold."""
        ...


@dataclass(frozen=True)
class Pauses:
    """Seconds to wait.

    For more hints, between looks while it is quiet, for a busy account, for a stream that is taken, and at most
    between tries and between looks at what is not through.
    """

    gather: float = 0.1
    quiet: float = 60.0
    busy: float = 2.0
    taken: float = 15.0
    longest_retry: float = 30.0


@dataclass
class Listener:
    """Hears and carries on until it is told to stop."""

    stream: Stream
    books: Books
    order_prefix: str
    pauses: Pauses
    beat: Callable[[str], None]
    _due: threading.Event = field(default_factory=threading.Event)
    _unread: deque[Unread] = field(default_factory=lambda: deque(maxlen=_UNREAD_KEPT))
    _state: str = "connecting"

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Servers that are away are waited for.

        Raises:
            UserError: the keys are refused, or the database is not ours: a person has to mend it.
        """
        failures: list[BaseException] = []

        def guarded(part: Callable[[threading.Event], None]) -> None:
            try:
                part(stop)
            except BaseException as error:
                failures.append(error)
                stop.set()

        parts = (self._hear_all, self._carry_on_when_due)
        threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        while not stop.wait(_BEAT_SECONDS):
            self.beat(self._state)
        self._due.set()
        for thread in threads:
            # One that drives a trade may take longer. Ending it anywhere is safe: the next pass goes on from there.
            thread.join(_JOIN_SECONDS)
        if failures:
            raise failures[0]

    def _hear_all(self, stop: threading.Event) -> None:
        backoff = Backoff(_FIRST_RETRY_SECONDS, self.pauses.longest_retry)
        while not stop.is_set():
            try:
                with self.stream.listening() as frames:
                    logger.info("Listening to the broker's trade updates.")
                    self._now(CONNECTED)
                    # What happened while nobody listened is nowhere but at the broker.
                    self._due.set()
                    self._hear(frames, stop, backoff)
            except StreamTaken as error:
                self._wait(stop, error, self.pauses.taken)
            except Transient as error:
                self._wait(stop, error, backoff.next())

    def _hear(self, frames: Frames, stop: threading.Event, backoff: Backoff) -> None:
        while not stop.is_set():
            frame = frames.next(_TICK_SECONDS)
            if frame is None:
                continue
            backoff.reset()
            heard = hear(frame, self.order_prefix, KNOWN_STATUSES)
            if heard.unread is not None:
                logger.warning("A trade update was set aside: {}", heard.unread.reason)
                self._unread.append(heard.unread)
            if heard.is_hint or heard.unread is not None:
                self._due.set()

    def _wait(self, stop: threading.Event, error: Transient, seconds: float) -> None:
        self._now("waiting for the stream")
        logger.warning("The listener waits {:.1f} s: {}", seconds, error)
        stop.wait(seconds)

    def _now(self, state: str) -> None:
        self._state = state
        self.beat(state)

    def _carry_on_when_due(self, stop: threading.Event) -> None:
        failing, unfinished = (Backoff(_FIRST_RETRY_SECONDS, self.pauses.longest_retry) for _ in range(2))
        self._due.set()
        seconds = self.pauses.quiet
        try:
            while not stop.is_set():
                if self._due.wait(seconds):
                    unfinished.reset()
                stop.wait(self.pauses.gather)
                if not stop.is_set():
                    self._due.clear()
                    seconds = self._look(stop, failing, unfinished)
        finally:
            self.books.close()

    def _look(self, stop: threading.Event, failing: Backoff, unfinished: Backoff) -> float:
        """Keep what was not understood, then carry on; return after how many seconds to look without a hint."""
        try:
            self._set_aside()
            is_through = not self.books.carry_on()
        except NotTheWriter:
            # Whoever trades now hears of it too, unless it looked just before.
            return self._again(stop, self.pauses.busy)
        except (Transient, Unreachable, Refused) as error:
            pause = failing.next()
            logger.warning("The listener looks again in {:.1f} s: {}", pause, error)
            return self._again(stop, pause)
        except UserError:
            raise
        except Exception as error:
            logger.opt(exception=error).error("The listener could not carry on: {}", error)
            return self._again(stop, failing.next())
        failing.reset()
        # What it waits for, an execution in the activities or a deadline, comes without another message.
        return self.pauses.quiet if is_through else min(self.pauses.quiet, unfinished.next())

    def _again(self, stop: threading.Event, seconds: float) -> float:
        """Hold hints back for a while: what failed must not be tried with each of them."""
        stop.wait(seconds)
        self._due.set()
        return self.pauses.quiet

    def _set_aside(self) -> None:
        taken = list(self._unread)
        if taken:
            self.books.set_aside(taken)
            for _ in taken:
                self._unread.popleft()


class LiveBooks:
    """The books of the account, wired at the first use: PostgreSQL or the broker may be away before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_compared = False

    def carry_on(self) -> Sequence[str]:
        """Take one look, without waiting for another run; the first time, open the gate before it."""
        if not self._has_compared:
            gate = self._service.cycle.open_gate()
            self._has_compared = True
            agree = "agree" if gate.reconciled else f"disagree: {'; '.join(gate.differences)}"
            logger.info("Started at {:%F %H:%M} UTC: our books and the broker {}.", gate.market.now, agree)
        return self._service.cycle.carry_on(wait=False)

    def set_aside(self, messages: Sequence[Unread]) -> None:
        """Keep messages; see `Execution.keep_unread`."""
        self._service.cycle.keep_unread(messages)

    def close(self) -> None:
        """Close the connections to PostgreSQL."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @cached_property
    def _engine(self) -> Engine:
        url = trading_database_url(self._settings)
        check(url)
        return make_engine(url, self._settings.database)

    @cached_property
    def _service(self) -> ExecutionService:
        client = make_unasked_client(self._settings, self._engine)
        return build(self._settings, self._engine, check_account(client, self._settings, self._engine))


def listen(settings: Settings, stop: threading.Event) -> None:
    """Listen until `stop` is set.

    Raises:
        UserError: keys, address or database do not fit together; a person has to mend it.
    """
    check_settings(settings)
    broker = settings.broker
    stream = TradeStream(settings.broker_url, broker_keys(settings), broker.connect_timeout_seconds)
    heartbeat = Heartbeat(redis_address(settings), LISTENER, _BEAT_SECONDS * _BEATS_MISSED)
    pauses = Pauses(quiet=settings.execution.listen_quiet_seconds)
    Listener(stream, LiveBooks(settings), client_order_prefix(settings.environment), pauses, heartbeat.beat).run(stop)
