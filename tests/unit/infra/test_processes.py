"""The supervisor: what it starts, finds, stops, and leaves alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.processes import ProcessSpec, Supervisor
from tests.polling import eventually

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
CHILD = "[sys.executable, '-c', 'import time; time.sleep(60)']"
FAMILY = f"import subprocess, sys; subprocess.Popen({CHILD}); {SLEEP}"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "run", tmp_path / "logs")
    yield made
    for name in made.names():
        made.stop(name, 0.1)


def test_a_started_process_is_found_from_anywhere_and_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    record = _start(supervisor, SLEEP, tmp_path)
    elsewhere = Supervisor(tmp_path / "run", tmp_path / "logs")

    assert elsewhere.is_running("probe")
    assert elsewhere.stop("probe", 10)

    assert not psutil.pid_exists(record) or psutil.Process(record).status() == psutil.STATUS_ZOMBIE
    assert elsewhere.names() == []
    assert not elsewhere.stop("probe", 10)


def test_starting_twice_keeps_the_first(supervisor: Supervisor, tmp_path: Path) -> None:
    first = _start(supervisor, SLEEP, tmp_path)

    assert supervisor.start(ProcessSpec("probe", [sys.executable, "-c", SLEEP])).pid == first


def test_one_that_does_not_listen_is_ended_by_force(supervisor: Supervisor, tmp_path: Path) -> None:
    _start(supervisor, STUBBORN, tmp_path)

    supervisor.stop("probe", 0.2)

    assert not supervisor.is_running("probe")


def test_children_go_with_their_parent_even_if_it_was_killed_before(supervisor: Supervisor, tmp_path: Path) -> None:
    parent = psutil.Process(_start(supervisor, FAMILY, tmp_path))
    children = parent.children()
    parent.kill()
    parent.wait(10)

    assert supervisor.stop("probe", 1)

    assert len(children) == 1
    assert not children[0].is_running() or children[0].status() == psutil.STATUS_ZOMBIE


def test_a_stranger_that_got_the_process_id_is_not_touched(supervisor: Supervisor, tmp_path: Path) -> None:
    _start(supervisor, SLEEP, tmp_path)
    supervisor_record = tmp_path / "run" / "probe.json"
    written = json.loads(supervisor_record.read_text())
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as stranger:
        copied = tmp_path / "run" / "other.json"
        copied.write_text(json.dumps({**written, "name": "other", "pid": stranger.pid, "created": 1.0}))

        assert not supervisor.is_running("other")
        assert not supervisor.stop("other", 1)

        assert stranger.poll() is None
        stranger.kill()


def test_ignored_signals_are_not_handed_down(tmp_path: Path) -> None:
    code = (
        "import signal, sys; from pathlib import Path\n"
        "from src.shared.infra.embedded.processes import ProcessSpec, Supervisor\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"s = Supervisor(Path({str(tmp_path / 'run')!r}), Path({str(tmp_path / 'logs')!r}))\n"
        f"s.start(ProcessSpec('probe', [sys.executable, '-c', {SLEEP!r}]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    supervisor = Supervisor(tmp_path / "run", tmp_path / "logs")
    process = supervisor.process("probe")
    assert process is not None
    try:
        eventually(lambda: "up" in (tmp_path / "logs" / "probe.log").read_text())
        process.send_signal(signal.SIGINT)
        eventually(lambda: not supervisor.is_running("probe"))
    finally:
        supervisor.stop("probe", 0.1)


def test_the_environment_is_ours_with_the_changes_asked_for(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_GONE", "1")
    monkeypatch.setenv("PROBE_KEPT", "2")
    show = "import os, time; print({k: v for k, v in os.environ.items() if k[:5] == 'PROBE'}, 'up', flush=True); time.sleep(60)"  # noqa: E501

    supervisor.start(ProcessSpec("probe", [sys.executable, "-c", show], {"PROBE_GONE": None, "PROBE_NEW": "3"}))

    log = tmp_path / "logs" / "probe.log"
    eventually(lambda: "up" in log.read_text())
    assert "{'PROBE_KEPT': '2', 'PROBE_NEW': '3'}" in log.read_text()


def test_one_that_ends_while_it_starts_is_reported_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(ProcessSpec("probe", [sys.executable, "-c", "raise SystemExit('no such table')"]))

    with pytest.raises(Unreachable, match=r"probe ended .*no such table.*probe\.log"):
        supervisor.wait_ready("probe", lambda: False, 30)


def test_one_that_never_gets_ready_is_given_up(supervisor: Supervisor, tmp_path: Path) -> None:
    _start(supervisor, SLEEP, tmp_path)

    with pytest.raises(Unreachable, match=r"probe was not ready within 0\.1 s"):
        supervisor.wait_ready("probe", lambda: False, 0.1)


def test_a_damaged_record_counts_as_none(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "probe.json").write_text('{"name": "probe"')

    assert supervisor.names() == []
    assert not supervisor.is_running("probe")


def _start(supervisor: Supervisor, code: str, tmp_path: Path) -> int:
    pid = supervisor.start(ProcessSpec("probe", [sys.executable, "-c", code])).pid
    log = tmp_path / "logs" / "probe.log"
    supervisor.wait_ready("probe", lambda: "up" in log.read_text(), 30)
    assert os.getsid(pid) == pid
    return pid
