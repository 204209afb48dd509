"""How long it takes from a slot's first step until both legs of a pair are at the broker, near and far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.rows import Row
from benchmarks.traded_slot import SLOT, services_on_a_twin, trade
from src.shared.prefect.tasks.wiring import Services

LATENCIES_MS = (0, 100)
# Per request the broker's own delay, and for the rest of the slot what our side may add.
OURS_MS = 700.0
REQUESTS_AIM = 25


@dataclass
class Stopwatch:
    """Passes everything on to a broker and notes when each order was accepted."""

    real: Any
    accepted: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """Return the broker's method; of the one that sends orders, a timed one."""
        method = getattr(self.real, name)
        return self._timed(method) if name == "submit_market_order" else method

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            report = method(*args, **options)
            self.accepted.append(time.perf_counter())
            return report

        return timed


def rows() -> list[Row]:
    """Time the slot that opens a pair, in a warm process, at each latency of the twin."""
    return [measure(latency) for latency in LATENCIES_MS]


def measure(latency_ms: int) -> Row:
    """Time it at one latency."""
    with services_on_a_twin(1) as (wired, twin):
        watch = Stopwatch(wired.broker)
        wired.__dict__["broker"] = watch  # the cached property: what the services are built on from here
        _warm(wired)
        twin.post("settings", latency_ms=latency_ms)
        wired.counts.found.clear()
        begin = time.perf_counter()
        trade(wired, twin, SLOT)
        done = (time.perf_counter() - begin) * 1000
        first, second = ((at - begin) * 1000 for at in watch.accepted)
        requests = wired.counts.found["requests"]
        bare = _bare_requests(wired, requests)
    return Row(
        f"slot to both legs accepted, twin answers after {latency_ms} ms",
        second,
        "ms",
        f"as many bare requests as the slot makes ({requests})",
        bare,
        OURS_MS + REQUESTS_AIM * latency_ms,
        {"first leg accepted": first, "both filled and booked, slot done": done, "requests of the slot": requests},
    )


def _warm(wired: Services) -> None:
    """Import and wire every service, which a process does once and not in each slot."""
    _ = wired.ingestion, wired.strategy, wired.risk, wired.execution, wired.analytics


def _bare_requests(wired: Services, count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        wired.broker.clock()
    return (time.perf_counter() - begin) * 1000
