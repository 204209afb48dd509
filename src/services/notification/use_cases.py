"""The verbs of the notification service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from loguru import logger

from src.services.notification.domain.health import HealthReport, ProbeResult
from src.services.notification.ports import Probe


async def check_system_health(probes: Sequence[Probe], *, timeout_seconds: float) -> HealthReport:
    """Ask all `probes` at once and report what each said; a dead one is a finding, not an error.

    Args:
        timeout_seconds: how long each may take.
    """
    checked_at = datetime.now(UTC)
    results = await asyncio.gather(*(_ask(probe, timeout_seconds) for probe in probes))
    for result in results:
        level = "INFO" if result.healthy else "WARNING"
        logger.log(level, "{}: {} ({:.0f} ms)", result.name, result.detail, result.latency_ms)
    return HealthReport(checked_at, tuple(results))


async def _ask(probe: Probe, timeout_seconds: float) -> ProbeResult:
    started = time.perf_counter()
    healthy, detail = await _answer(probe, timeout_seconds)
    return ProbeResult(probe.name, healthy, (time.perf_counter() - started) * 1000, detail)


async def _answer(probe: Probe, timeout_seconds: float) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(timeout_seconds):
            return True, await probe.ask()
    except TimeoutError:
        return False, f"no answer within {timeout_seconds:g} s"
    except Exception as error:
        # Whatever a driver raises is what this report is there to say.
        return False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
