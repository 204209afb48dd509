"""The bridge from events to runs: follows the outbox and asks Prefect for the runs of `triggers.py`.

A process of its own, run by name. Each event is taken once, also over a restart: its mark and the position are
committed after Prefect has said yes, and what is asked a second time after a crash is the same run by its key. While
Prefect is away events wait; those that have waited too long start nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from loguru import logger
from sqlalchemy import Connection

from src.config.settings import Environment, Settings
from src.shared.domain.errors import Terminal, Transient
from src.shared.infra.bus.connections import connections
from src.shared.infra.bus.consumer import Consumer
from src.shared.infra.bus.outbox import recorded_at
from src.shared.infra.embedded.stack import redis_address
from src.shared.infra.environment import recorded_owner
from src.shared.infra.heartbeat import CONNECTED, EVENT_BRIDGE, Heartbeat
from src.shared.infra.long_running import run_until_stopped
from src.shared.messages.envelope import Envelope
from src.shared.prefect.config import adopt, client_environment, prefect_settings
from src.shared.prefect.triggers import STALE_AFTER, TRIGGERS, Start, start_for

_BEAT_SECONDS = 5.0
_BEATS_MISSED = 4
# The consumer waits and tries again; a client that did so too would hold the event's transaction meanwhile.
_REQUEST_SECONDS = 10.0
_SERVER_ERROR = 500

Ask = Callable[[Start], str]
"""Asks for a run and says what came of it, for people. Raises Transient while nobody answers."""


@dataclass
class Bridge:
    """Takes one event after the other. `state` says how it is, for a sign of life."""

    environment: Environment
    window: timedelta
    ask: Ask
    state: str = CONNECTED

    def take(self, connection: Connection, envelope: Envelope) -> None:
        """Ask for the run that an event starts, if it starts one and is not stale.

        Raises:
            Transient: Prefect is away; the event waits.
            Terminal: Prefect does not know the deployment, or refuses it.
            EventUnreadable: this version does not know the event.
        """
        recorded = recorded_at(connection, envelope.event_id)
        owner = recorded_owner(connection, self.environment)
        start = start_for(envelope.event(), recorded, owner, self.window)
        if start is None:
            return
        if datetime.now(UTC) - recorded > STALE_AFTER:
            logger.info("{} is too old to start {}.", envelope.channel, start.deployment)
            return
        self._ask(start, envelope)

    def _ask(self, start: Start, envelope: Envelope) -> None:
        try:
            came = self.ask(start)
        except Transient:
            self.state = "waiting for Prefect"
            raise
        self.state = CONNECTED
        logger.info("{} of {}: {} {}.", envelope.channel, envelope.event_id, start.deployment, came)


def run_bridge(settings: Settings, stop: threading.Event) -> None:
    """Start runs by events until `stop` is set. Servers that are away are waited for.

    Raises:
        Unreachable: an embedded server has never been started.
    """
    window = timedelta(seconds=settings.orchestrator.event_window_seconds)
    bridge = Bridge(settings.environment, window, lambda start: ask_prefect(settings, start))
    heart = Heartbeat(redis_address(settings), EVENT_BRIDGE, _BEATS_MISSED * _BEAT_SECONDS)
    beats = threading.Thread(target=_keep_beating, args=(heart, bridge, stop), daemon=True)
    beats.start()
    with connections(settings) as (engine, bus):
        channels = [row.event.channel() for row in TRIGGERS]
        Consumer(EVENT_BRIDGE, engine, bridge.take, patterns=channels).run(bus, stop)
    beats.join(_BEAT_SECONDS)


def ask_prefect(settings: Settings, start: Start) -> str:
    """Ask the server for a run and return what came of it; a deployment that a person paused starts nothing.

    Raises:
        Transient: it does not answer, or not now.
        Terminal: it does not know the deployment, or refuses the parameters.
    """
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    try:
        with (
            prefect_settings(settings),
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: _REQUEST_SECONDS}),
        ):
            return asyncio.run(_run_of(start))
    except ObjectNotFound as error:
        raise Terminal(f"there is no deployment {start.deployment}: deploy it") from error
    except PrefectHTTPStatusError as error:
        if error.response.status_code < _SERVER_ERROR:
            raise Terminal(f"Prefect refuses {start.deployment}: {error}") from error
        raise Transient(f"Prefect answers {error.response.status_code}") from error
    except httpx.TransportError as error:
        raise Transient(f"Prefect does not answer: {error}") from error


async def _run_of(start: Start) -> str:
    from prefect.client.orchestration import get_client
    from prefect.deployments import arun_deployment

    async with get_client() as client:
        deployment = await client.read_deployment_by_name(start.deployment)
        if deployment.paused:
            return "is paused, nothing starts"
        run = await arun_deployment(
            deployment.id,
            client=client,
            parameters=dict(start.parameters),
            scheduled_time=datetime.now(UTC) + start.wait,
            timeout=0,
            idempotency_key=start.key,
            as_subflow=False,
        )
    return f"runs as {run.name}"


def _keep_beating(heart: Heartbeat, bridge: Bridge, stop: threading.Event) -> None:
    while not stop.is_set():
        heart.beat(bridge.state)
        stop.wait(_BEAT_SECONDS)


def _work(settings: Settings, stop: threading.Event) -> None:
    adopt(client_environment(settings))
    run_bridge(settings, stop)


if __name__ == "__main__":
    run_until_stopped("event-bridge", _work)
