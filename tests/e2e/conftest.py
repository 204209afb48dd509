"""A prompt of one's own: a state folder, free ports and nothing else set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from src.shared.infra.embedded.ports import free_port
from tests.folders import server_folder

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Prompt:
    """A shell with the settings of one state folder."""

    home: Path
    variables: dict[str, str]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env={**self.variables, **more},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=800,
        )

    def demo(self, *words: str) -> dict[str, Any]:
        """Run a demo that succeeds and return its summary."""
        done = self.run("demo", *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        summary: dict[str, Any] = json.loads((self.home / "demo" / "summary.json").read_text())
        return summary

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "src.services.cli.main", *words]

    def pids(self) -> dict[str, int | None]:
        rows: list[dict[str, Any]] = json.loads(self.run("status", "--json").stdout)["rows"]
        return {row["name"]: row["pid"] for row in rows}

    def processes(self) -> list[str]:
        """The command lines of what runs for the state folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.home) in " ".join([*process.cmdline(), *process.environ().values()]):
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


@pytest.fixture(scope="module")
def prompt() -> Iterator[Prompt]:
    """A prompt whose folder was used before, but for the first test: that is the faster start."""
    with new_prompt() as made:
        yield made


@contextmanager
def new_prompt() -> Iterator[Prompt]:
    """Give a prompt; at the end everything of its state folder is stopped and the folder removed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEWINDS_", "PREFECT_"))}
    ports = {f"TRADEWINDS_{name}_PORT": str(free_port()) for name in ("REDIS", "PREFECT", "TWIN")}
    with server_folder("tradewinds-e2e-") as root:
        home = root / "home"
        made = Prompt(home, {**kept, **ports, "TRADEWINDS_HOME": str(home), "TRADEWINDS_ENV_FILE": "/dev/null"})
        try:
            yield made
        finally:
            made.run("down", "--now")
            made.run("down", "--now", TRADEWINDS_HOME=str(home / "demo"))
