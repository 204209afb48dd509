"""What a flow run's process costs before its first line of work: time and memory of its imports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

from benchmarks.rows import Row
from src.shared.prefect.config import SOURCE_ROOT

REPEATS = 3
# What a trading run has imported by its first order: the engine, its flow, each service and the broker's SDK.
TRADING_RUN = """
import src.shared.infra.flow_run
src.shared.infra.flow_run.begin_process()
import src.shared.infra.logging, src.shared.prefect.engine, prefect.flow_engine
import src.shared.prefect.flows.strategy_engine.intraday_pairs_trading_flow
import src.shared.infra.database.revisions, src.shared.infra.embedded.stack, src.shared.infra.alpaca.wire
import src.services.data_ingestion.bootstrap, src.services.strategy_engine.bootstrap
import src.services.risk_management.bootstrap, src.services.execution.bootstrap, src.services.analytics.bootstrap
src.services.execution.bootstrap.TradingCalendar()
"""
BOOT = "import src.shared.infra.flow_run"
REFERENCE = "import prefect"
# Linux takes the parent's peak for that of a process it has just started; its VmHWM begins anew.
SAY_COST = """
import pathlib, re, resource, sys, time
status = pathlib.Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.process_time(), int(peak[1]) / 2**10 if peak else used / 2**20)
"""


@dataclass(frozen=True)
class Cost:
    """One process from start to end."""

    wall_ms: float
    cpu_ms: float
    peak_mib: float


def rows() -> list[Row]:
    """Measure each in processes of its own; the first one, which may compile, does not count."""
    alone, trading, boot = (_typical(code) for code in (REFERENCE, TRADING_RUN, BOOT))
    uncompiled = _once(TRADING_RUN, {"PYTHONPYCACHEPREFIX": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"})
    times = {
        "cpu": trading.cpu_ms,
        "cpu of `import prefect`": alone.cpu_ms,
        "until the boot is done": boot.wall_ms,
        "cpu without bytecode on disk": uncompiled.cpu_ms,
    }
    what = "process of a trading run"
    reference = "a process with `import prefect` alone"
    return [
        Row(f"{what}: imports", trading.wall_ms, "ms", reference, alone.wall_ms, 3_000.0, times),
        Row(f"{what}: peak memory", trading.peak_mib, "MiB", reference, alone.peak_mib, 300.0),
    ]


def _typical(code: str) -> Cost:
    _once(code)
    costs = [_once(code) for _ in range(REPEATS)]
    return Cost(*(median(getattr(cost, name) for cost in costs) for name in ("wall_ms", "cpu_ms", "peak_mib")))


def _once(code: str, more: dict[str, str] | None = None) -> Cost:
    start = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-c", f"{code}{SAY_COST}"],
        cwd=SOURCE_ROOT,
        env={**os.environ, **(more or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    wall = (time.perf_counter() - start) * 1000
    cpu, peak = said.stdout.split()
    return Cost(wall, float(cpu) * 1000, float(peak))
