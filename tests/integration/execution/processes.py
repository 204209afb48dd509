"""Execution in processes of their own, against a twin: to run two at once, or to have one killed on the way.

A process counts what can be seen of it from outside, each request to the broker and each commit, and kills itself
with SIGKILL just before the n-th: no `finally`, no rollback, no goodbye.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from typing import Any

from loguru import logger
from sqlalchemy import Engine, event

from src.config.settings import load_settings
from src.services.execution.bootstrap import ExecutionService, build
from src.services.execution.ports import TradingBroker
from src.shared.infra.alpaca.factory import make_alpaca_client
from src.shared.infra.database.engine import make_engine

QUICK = {
    "TRADEWINDS_ENV_FILE": "/nonexistent",
    "TRADEWINDS_EXECUTION_UNKNOWN_WINDOW_SECONDS": "0.3",
    "TRADEWINDS_EXECUTION_POLL_SECONDS": "0.02",
    "TRADEWINDS_EXECUTION_LEG_DEADLINE_SECONDS": "20",
    "TRADEWINDS_EXECUTION_WRITER_WAIT_SECONDS": "30",
    "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": "10000",
}


@dataclass
class Countdown:
    """Ends the process before the n-th thing it does; never, for zero."""

    fatal: int
    seen: int = 0

    def tick(self, *_: object) -> None:
        self.seen += 1
        if self.seen == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class CountedBroker:
    """Passes everything on to a broker, and counts."""

    real: Any
    countdown: Countdown
    _counted: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)

        def counted(*args: Any, **options: Any) -> Any:
            self.countdown.tick()
            return method(*args, **options)

        return counted


def service_for(
    database_url: str, twin_url: str, countdown: Countdown
) -> tuple[ExecutionService, TradingBroker, Engine]:
    """Wire execution as a process of its own does; the environment must hold `QUICK`."""
    settings = load_settings()
    engine = make_engine(database_url, settings.database)
    event.listen(engine, "commit", countdown.tick)
    broker: Any = CountedBroker(make_alpaca_client(settings), countdown)
    return build(settings, engine, broker), broker, engine


def run_slot(database_url: str, twin_url: str, fatal: int, barrier: Any = None) -> None:
    """Run one cycle; the whole of a child process."""
    logger.remove()
    os.environ.update(QUICK, TRADEWINDS_ALPACA_BASE_URL=twin_url)
    service, _, _ = service_for(database_url, twin_url, Countdown(fatal))
    if barrier is not None:
        barrier.wait(timeout=60)
    service.cycle.execute_slot(service.cycle.open_gate())


def context() -> ForkServerContext:
    """Start processes from a clean server that has imported everything once."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.integration.execution.preloaded"])
    return made


SHORT = timedelta(seconds=60)
