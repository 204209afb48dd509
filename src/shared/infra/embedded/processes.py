"""Start, find and stop the processes of one state folder, from any process and after any crash.

A started process gets a session of its own, default signal handlers and a record on disk. The record holds
the process id together with its start time, so that an id the system has given away again is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from src.shared.domain.errors import Unreachable
from src.shared.infra.embedded.files import StateFolderUnusable, make_folder, write_atomically

_POLL_SECONDS = 0.05
_KILL_WAIT_SECONDS = 10.0
_LOG_LIMIT_BYTES = 20_000_000
_SAME_START_SECONDS = 1.0
# Handed down to every descendant, so that those which left their parent's session are found as well.
_MARK = "_TRADEWINDS_RUN_FOLDER"


@dataclass(frozen=True)
class ProcessSpec:
    """What to start: a unique name, the command, and what its environment has besides ours.

    A value of None in ``environment`` takes the variable away.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ProcessRecord:
    """One started process as it is written to ``<run folder>/<name>.json``."""

    name: str
    pid: int
    created: float
    command: list[str]
    log: str


class Supervisor:
    """The processes whose records are in one folder."""

    def __init__(self, run_folder: Path, log_folder: Path) -> None:
        self._run_folder = run_folder
        self._log_folder = log_folder

    def start(self, spec: ProcessSpec) -> ProcessRecord:
        """Start the process unless it runs already, and record it."""
        if (running := self.record(spec.name)) is not None and self.is_running(spec.name):
            return running
        make_folder(self._run_folder)
        make_folder(self._log_folder)
        log = self._log_folder / f"{spec.name}.log"
        _turn_over(log)
        pid = _spawn(spec, log, str(self._run_folder))
        return self._write(spec.name, pid, list(spec.command), str(log))

    def enlist_this_process(self, name: str) -> None:
        """Record the calling process, so that others can find and stop it."""
        make_folder(self._run_folder)
        process = psutil.Process()
        self._write(name, process.pid, process.cmdline(), "")

    def forget(self, name: str) -> None:
        """Remove the record."""
        self._record_path(name).unlink(missing_ok=True)

    def wait_ready(self, name: str, check: Callable[[], bool], timeout: float) -> None:
        """Poll ``check`` until it holds.

        Raises:
            Unreachable: the process ended, or ``timeout`` seconds went by; the message names its log.
        """
        end = time.monotonic() + timeout
        while not check():
            if not self.is_running(name):
                raise Unreachable(f"{name} ended while it was starting: {self._last_words(name)}")
            if time.monotonic() > end:
                raise Unreachable(f"{name} was not ready within {timeout:g} s: {self._last_words(name)}")
            time.sleep(_POLL_SECONDS)

    def stop(self, name: str, timeout: float) -> bool:
        """Ask the process to end, wait up to ``timeout`` seconds, then kill what is left of its group.

        Only the leader is asked, so that it can drain its own children. Returns False if nothing ran.
        """
        if (record := self.record(name)) is None:
            return False
        leader = _live_process(record)
        if leader is not None:
            _ask_to_end(leader, timeout)
        leftovers = _end_group(record, leader is not None)
        self.forget(name)
        return leader is not None or leftovers

    def stop_strays(self, timeout: float) -> int:
        """End what descends from our processes and outlived them, asking first; return how many it was."""
        strays = [process for process in psutil.process_iter() if self._is_stray(process)]
        for process in strays:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        wait_ended(strays, timeout)
        _kill([process for process in strays if not has_ended(process)])
        return len(strays)

    def is_running(self, name: str) -> bool:
        """Say whether the recorded process lives. A zombie does not."""
        return self.process(name) is not None

    def process(self, name: str) -> psutil.Process | None:
        """The live process of this name, if any."""
        record = self.record(name)
        return None if record is None else _live_process(record)

    def record(self, name: str) -> ProcessRecord | None:
        """What was written when the process was started, whether or not it still runs."""
        try:
            return ProcessRecord(**json.loads(self._record_path(name).read_text()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None
        except PermissionError:
            raise StateFolderUnusable(
                f"{self._run_folder} belongs to another user: run as that user, or set TRADEWINDS_HOME."
            ) from None

    def names(self) -> list[str]:
        """Names of all recorded processes."""
        found = (path.stem for path in self._run_folder.glob("*.json"))
        return sorted(name for name in found if self.record(name) is not None)

    def _write(self, name: str, pid: int, command: list[str], log: str) -> ProcessRecord:
        record = ProcessRecord(name, pid, psutil.Process(pid).create_time(), command, log)
        write_atomically(self._record_path(name), json.dumps(asdict(record)))
        return record

    def _is_stray(self, process: psutil.Process) -> bool:
        try:
            marked = process.environ().get(_MARK) == str(self._run_folder)
            return marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            return False

    def _record_path(self, name: str) -> Path:
        return self._run_folder / f"{name}.json"

    def _last_words(self, name: str) -> str:
        log = self._log_folder / f"{name}.log"
        lines = [line.strip() for line in _tail(log).splitlines() if line.strip()]
        return f"{lines[-1][:300] if lines else 'it said nothing'} (see {log})"


def has_ended(process: psutil.Process) -> bool:
    """Say whether the process is gone or a zombie; a zombie child of ours is reaped."""
    try:
        if not process.is_running() or process.status() != psutil.STATUS_ZOMBIE:
            return not process.is_running()
    except psutil.NoSuchProcess:
        return True
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return True


def wait_ended(processes: Sequence[psutil.Process], timeout: float) -> None:
    """Wait until all have ended, or ``timeout`` seconds have gone by.

    Unlike psutil's own wait, a zombie counts as ended: whoever has to reap it may be slow about it.
    """
    end = time.monotonic() + timeout
    while not all(has_ended(process) for process in processes) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)


def _spawn(spec: ProcessSpec, log: Path, run_folder: str) -> int:
    environment = {**os.environ, **{k: v for k, v in spec.environment.items() if v is not None}}
    environment[_MARK] = run_folder
    for absent in (k for k, v in spec.environment.items() if v is None):
        environment.pop(absent, None)
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Not subprocess: a parent started by `nohup … &` ignores SIGINT, and the child would inherit that.
    return os.posix_spawn(
        spec.command[0],
        list(spec.command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), appending, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE],
    )


def _live_process(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.created) > _SAME_START_SECONDS:
            return None
    except psutil.NoSuchProcess:
        return None
    return None if has_ended(process) else process


def _ask_to_end(process: psutil.Process, timeout: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    wait_ended([process], timeout)


def _end_group(record: ProcessRecord, leader_was_ours: bool) -> bool:
    members = list(_group(record, leader_was_ours))
    _kill(members)
    return bool(members)


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_ended(processes, _KILL_WAIT_SECONDS)


def _group(record: ProcessRecord, leader_was_ours: bool) -> Iterator[psutil.Process]:
    # While a group has members, its number is not given to a new process. With the leader gone before we
    # looked, a new leader under the same number would be a stranger with a stranger's group.
    if not leader_was_ours and psutil.pid_exists(record.pid) and _live_process(record) is None:
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            ours = os.getsid(process.pid) == record.pid and process.create_time() >= record.created - 1
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _turn_over(log: Path) -> None:
    if log.is_file() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-4000:].decode(errors="replace")
    except FileNotFoundError:
        return ""
