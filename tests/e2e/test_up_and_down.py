"""`tradewinds up`, looked at, used, broken and taken down, as a person would at a prompt."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from tests.e2e.conftest import ROOT, Prompt

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_up_detached_serves_until_down_and_down_leaves_nothing(prompt: Prompt) -> None:
    up = prompt.run("up", "--detach")
    assert up.returncode == 0, up.stderr
    assert f"http://127.0.0.1:{prompt.variables['TRADEWINDS_PREFECT_PORT']}" in up.stdout
    pids = prompt.pids()
    assert None not in pids.values()

    again = prompt.run("up", "--detach")
    assert again.returncode == 2
    assert "already runs" in again.stderr
    doctor = prompt.run("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout

    assert prompt.run("down", "--now").returncode == 0
    assert prompt.run("status").returncode == 1
    assert not any(_lives(pid) for pid in pids.values() if pid)
    assert prompt.run("down").returncode == 0


@pytest.mark.chaos
def test_a_foreground_up_is_taken_over_when_killed_starts_again_what_dies_and_ends_on_an_interrupt_or_down(
    prompt: Prompt,
) -> None:
    first = _foreground(prompt)
    before = prompt.pids()
    first.send_signal(signal.SIGKILL)
    first.wait(30)

    second = _foreground(prompt)
    assert prompt.pids() == before

    twin = before["Twin of the vendors"]
    assert twin is not None
    os.kill(twin, signal.SIGKILL)
    _eventually(lambda: prompt.pids()["Twin of the vendors"] not in (None, twin))

    second.send_signal(signal.SIGINT)
    assert second.wait(240) == 130
    assert not any(_lives(pid) for pid in before.values() if pid)

    third = _foreground(prompt)
    assert prompt.run("down").returncode == 0
    assert third.wait(60) == 0
    assert prompt.run("status").returncode == 1


def _foreground(prompt: Prompt) -> subprocess.Popen[bytes]:
    log = (prompt.home.parent / "up.log").open("wb")
    with log:
        process = subprocess.Popen(prompt.command("up"), env=prompt.variables, cwd=ROOT, stdout=log, stderr=log)
    path = prompt.home.parent / "up.log"
    _eventually(lambda: process.poll() is not None or b"Ctrl-C stops" in path.read_bytes())
    assert process.poll() is None, path.read_text()
    return process


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _eventually(check: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
