"""How long `tradewinds up` takes into an empty state folder and into one that was used before, and what on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from benchmarks.rows import Row
from benchmarks.scratch import scratch_home, take_down, tradewinds, variables
from src.shared.prefect.config import SOURCE_ROOT

COLD_AIM_SECONDS = 30.0
WARM_AIM_SECONDS = 20.0
REFERENCE = "the Prefect server alone, with its PostgreSQL, same kind of folder"
_LONGEST_SECONDS = 300.0
_POLL_SECONDS = 0.05
_DONE = "✓ "


@dataclass(frozen=True)
class Start:
    """One start: seconds in all, and from each step's end to the next one's."""

    seconds: float
    steps: Mapping[str, float]


Starter = Callable[[Mapping[str, str]], Start]


def rows() -> list[Row]:
    """Measure the reference and ours, first in an empty folder, then in the same one."""
    alone_cold, alone_warm = _twice(_server_alone)
    cold, warm = _twice(_up)
    return [
        _row("`tradewinds up`, empty folder", cold, alone_cold, COLD_AIM_SECONDS),
        _row("`tradewinds up`, used folder", warm, alone_warm, WARM_AIM_SECONDS),
    ]


def _row(name: str, start: Start, alone: Start, aim: float) -> Row:
    return Row(name, start.seconds, "s", REFERENCE, alone.seconds, aim, start.steps)


def _twice(start: Starter) -> list[Start]:
    with scratch_home() as home:
        chosen = variables(home)
        return [_and_down(start, chosen) for _ in range(2)]


def _and_down(start: Starter, chosen: Mapping[str, str]) -> Start:
    try:
        return start(chosen)
    finally:
        take_down(chosen)


def _up(chosen: Mapping[str, str]) -> Start:
    began = last = time.monotonic()
    steps: dict[str, float] = {}
    with subprocess.Popen(
        tradewinds("up", "--detach"),
        env=dict(chosen) | {"PYTHONUNBUFFERED": "1"},
        cwd=SOURCE_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(_DONE):
                now = time.monotonic()
                steps[line.removeprefix(_DONE).strip()] = now - last
                last = now
    if process.returncode:
        raise RuntimeError(f"`tradewinds up` failed: {''.join(said)}")
    return Start(time.monotonic() - began, steps)


def _server_alone(chosen: Mapping[str, str]) -> Start:
    url = f"http://127.0.0.1:{chosen['TRADEWINDS_PREFECT_PORT']}/api/health"
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "scripts/prefect/start_prefect_server.py"],
        env=dict(chosen),
        cwd=SOURCE_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while not _answers(url):
                if process.poll() is not None or time.monotonic() - began > _LONGEST_SECONDS:
                    raise RuntimeError("the Prefect server did not start")
                time.sleep(_POLL_SECONDS)
            return Start(time.monotonic() - began, {})
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.HTTPError:
        return False
