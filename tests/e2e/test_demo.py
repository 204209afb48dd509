"""The demo as a person runs it: every part of the suite, in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from src.shared.infra.embedded.ports import free_port
from tests.shared_data import shared_file

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Place:
    """A folder for demos, and the command line in it."""

    home: Path
    ports: dict[str, str]

    def environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("TRADEWINDS_", "PREFECT_"))}
        return {**kept, **self.ports, "TRADEWINDS_HOME": str(self.home), "TRADEWINDS_ENV_FILE": os.devnull}

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "src.services.cli.main", *words],
            env=self.environment() | more,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=800,
        )

    def demo(self, *words: str) -> dict[str, Any]:
        done = self.run("demo", *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        summary: dict[str, Any] = json.loads((self.home / "demo" / "summary.json").read_text())
        return summary

    def processes(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.home) in " ".join([*process.cmdline(), *process.environ().values()]):
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


@pytest.fixture
def place() -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="tradewinds-demo-"))
    root.chmod(0o711)
    ports = {f"TRADEWINDS_{name}_PORT": str(free_port()) for name in ("REDIS", "PREFECT", "TWIN")}
    made = Place(root / "home", ports)
    yield made
    made.run("down", "--now", TRADEWINDS_HOME=str(made.home / "demo"))
    shutil.rmtree(root, ignore_errors=True)


def test_two_sessions_trade_through_workers_and_the_same_in_one_process(place: Place) -> None:
    by_worker = place.demo()

    assert by_worker["slots"] == 12
    assert by_worker["pair_trades"]["closed"] >= 3
    # The pairs that the market was made with pass the gate; those that only look like one do not.
    assert {pair["pair_id"] for pair in by_worker["pairs"] if not pair["traded"]} == {"XEBO/XULA", "YORB/YVEN"}
    assert by_worker["flow_runs"] == {"Completed": 12}
    assert [i["name"] for i in by_worker["invariants"]] == [f"I{n}" for n in range(1, 9)]
    assert all(i["breaches"] == [] for i in by_worker["invariants"])
    assert by_worker["events"]["recorded"] == by_worker["events"]["published"] == by_worker["events"]["consumed"]
    assert place.processes() == []

    inline = place.demo("--runner", "inline")

    for told in ("pairs", "signals", "decisions", "orders", "fills", "trades", "pair_trades"):
        assert inline[told] == by_worker[told]


def test_a_persons_own_bars_are_replayed_and_no_trade_would_be_no_error(place: Place) -> None:
    bars = shared_file("data/mit_polygon_1h.parquet")

    summary = place.demo("--data", str(bars), "--pairs", "SPY/QQQ,QQQ/XLK", "--runner", "inline", "--slots", "18")

    assert summary["ok"]
    assert summary["slots"] == 18
    assert [pair["pair_id"] for pair in summary["pairs"]] == ["SPY/QQQ", "QQQ/XLK"]
    assert sum(summary["flow_runs"].values()) == 18
    assert all(i["breaches"] == [] for i in summary["invariants"])


def test_one_slot_run_three_times_two_of_them_at_once_trades_once(place: Place) -> None:
    kept = place.run("demo", "--keep", "--slots", "1", "--runner", "inline")
    # One slot closes nothing, and the demo says so; everything runs on.
    assert kept.returncode == 1, kept.stderr
    running = {
        "TRADEWINDS_HOME": str(place.home / "demo"),
        **_ports(kept.stdout),
        "TRADEWINDS_ALPACA_ENVIRONMENT": "twin",
    }
    twin = f"http://127.0.0.1:{running['TRADEWINDS_TWIN_PORT']}"
    before = _orders(twin)
    assert len(before) > 0

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(place.run, "run", "intraday-pairs-trading", **running) for _ in range(2)]
    done = [each.result() for each in asked]

    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert all("ALREADY_DONE" in each.stdout for each in done)
    assert _orders(twin) == before

    # A fresh slot, the first of the next day with an entry, asked for twice at the same moment.
    httpx.post(f"{twin}/admin/clock", json={"now": "2025-10-21T14:30:05Z"}).raise_for_status()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(place.run, "run", "intraday-pairs-trading", **running) for _ in range(2)]
    assert [each.result().returncode for each in asked] == [0, 0]

    after = _orders(twin)
    assert len(after) > len(before)
    assert max(Counter(after).values()) == 1
    trades = Counter(name.rsplit("-", 1)[0] for name in after)
    assert max(trades.values()) == 1


def _orders(twin: str) -> list[str]:
    return [order["client_order_id"] for order in httpx.get(f"{twin}/admin/state").json()["orders"]]


def _ports(printed: str) -> dict[str, str]:
    """Read the addresses that `--keep` prints."""
    titles = {"Twin of the vendors: ": "TRADEWINDS_TWIN_PORT", "Prefect server: ": "TRADEWINDS_PREFECT_PORT"}
    found = {}
    for line in printed.splitlines():
        for title, variable in titles.items():
            if line.startswith(title):
                found[variable] = line.rsplit(":", 1)[1].strip()
    return found
