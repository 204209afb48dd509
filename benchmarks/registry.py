"""Every benchmark by name: the module whose `rows()` measures it. A new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from benchmarks.rows import Row

MODULES: Mapping[str, str] = {
    "signal-step": "benchmarks.signal_step",
    "discovery": "benchmarks.discovery",
    "market-data": "benchmarks.market_data",
    "indicators": "benchmarks.indicators",
    "history": "benchmarks.history",
    "quality-rules": "benchmarks.quality_rules",
    "slot-cost": "benchmarks.slot_cost",
    "crash-recovery": "benchmarks.crash_recovery",
    "both-legs": "benchmarks.both_legs",
    "reconcile": "benchmarks.reconcile",
    "process-start": "benchmarks.process_start",
    "start-up": "benchmarks.start_up",
    "slot-to-order": "benchmarks.slot_to_order",
}

Benchmark = Callable[[], list[Row]]


def load(name: str) -> Benchmark:
    """Import the benchmark of that name; only then, so that a run pays for what it measures."""
    measure: Benchmark = import_module(MODULES[name]).rows
    return measure
