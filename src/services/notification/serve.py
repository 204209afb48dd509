"""The notification service at work: a relay (or a candidate for it) and the listener that tells people."""

from __future__ import annotations

import threading
from collections.abc import Callable

from loguru import logger
from sqlalchemy import Connection

from src.config.settings import Settings
from src.services.notification.domain.lines import line_for
from src.shared.domain.errors import Transient, Unreachable
from src.shared.infra.bus.connections import connections
from src.shared.infra.bus.consumer import Consumer
from src.shared.infra.bus.relay import OutboxRelay
from src.shared.messages.envelope import Envelope

_NAME = "notification"
_JOIN_SECONDS = 10.0


def serve(settings: Settings, stop: threading.Event) -> None:
    """Relay the outbox and tell people what happens, until `stop` is set. Servers that are away are waited for.

    Raises:
        Unreachable: an embedded server has never been started.
        Exception: what ended one of the two parts unexpectedly; the other is stopped.
    """
    with connections(settings) as (engine, bus):
        relay = OutboxRelay(engine, bus)
        listener = Consumer(_NAME, engine, tell)
        _run_together(stop, lambda: relay.run(stop), lambda: listener.run(bus, stop))


def notify_pending(settings: Settings) -> int:
    """Publish what waits in the outbox and tell what has not been told; return the number of events handled.

    Redis being away does not matter: the events are given their positions all the same, and are published later.

    Raises:
        Transient: PostgreSQL went away half-way; a repetition goes on from there.
        Unreachable: no PostgreSQL answers.
    """
    with connections(settings) as (engine, bus):
        try:
            OutboxRelay(engine, bus).drain()
        except (Transient, Unreachable) as error:
            logger.warning("Events are told but not published: {}", error)
        return Consumer(_NAME, engine, tell).catch_up()


def tell(connection: Connection, envelope: Envelope) -> None:
    """Log the line that people read for this event, if it matters to them. Nothing is written to the database.

    Raises:
        EventUnreadable: this version does not know the event.
    """
    del connection
    event = envelope.event()
    if (line := line_for(event)) is not None:
        logger.bind(event_id=str(event.event_id), channel=envelope.channel).log(line.level, "{}", line.text)


def _run_together(stop: threading.Event, *parts: Callable[[], None]) -> None:
    """Run each part in a thread; when one ends with an error, stop all and raise it."""
    failures: list[BaseException] = []

    def guarded(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(_JOIN_SECONDS)
    if failures:
        raise failures[0]
