"""Strategies called in processes of their own: built-in ones share a few, each file of a user has one for itself.

A call that fails is the fault of its job alone. One that ends its process is too: a new process takes the remaining
jobs. Nothing is lost by it, as a strategy keeps nothing but the state it was given and gives back.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

from loguru import logger

from src.services.strategy_engine.adapters.cell import PROGRESS_BYTES, Ask, Budget
from src.services.strategy_engine.domain.instances import Failed, Job, Reach, Stepped
from src.services.strategy_engine.ports import Described, Market
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER
from src.shared.domain.errors import Transient
from src.shared.domain.instances import FaultKind
from src.shared.domain.ticks import Tick

# Jobs of one request: what is done again when its process ends.
CHUNK = 100
_START_SECONDS = 60.0
_SLACK_SECONDS = 10.0
_MODULE = "src.services.strategy_engine.adapters.cell"
# What a strategy has no use for, keys above all, is not in its process's environment.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_NO_JOB = (1 << 64) - 1

R = TypeVar("R")
Answer = Mapping[str, Any]


class CellDied(Exception):
    """A process ended, or was ended, during the call of a job."""

    def __init__(self, job: int, kind: FaultKind, detail: str) -> None:
        super().__init__(detail)
        self.job, self.kind, self.detail = job, kind, detail


class Cell:
    """One process. It is started when it is first asked, and again after it has died."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self._folder = folder
        self._budget = budget
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection[Any, Any] | None = None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the processes that it is passed on to
        self._file.truncate(PROGRESS_BYTES)
        self._progress = mmap.mmap(self._file.fileno(), PROGRESS_BYTES)
        self._market: Market | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, while it runs."""
        return None if self._process is None else self._process.pid

    def ask(self, ask: Ask, market: Market | None, seconds: float) -> list[Answer]:
        """Ask about every job of a request, on this market; wait for so many seconds at most.

        Raises:
            CellDied: the process ended during one of the calls; it is started anew by the next request.
            Transient: no process can be started.
        """
        if self._line is None:
            self._line = self._start()
            self._greet()
        if market is not None and market is not self._market:
            self._exchange(market, _START_SECONDS)
            self._market = market
        # Each call is ended by a timer of its process; this bound is for a process that does not even have timers.
        return self._exchange(ask, min(self._budget.seconds * len(ask.jobs) + _SLACK_SECONDS, seconds))

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._line = self._market = None

    def close(self) -> None:
        """End the process and let go of its file."""
        self.stop()
        self._progress.close()
        self._file.close()

    def _start(self) -> Connection[Any, Any]:
        ours, theirs = Pipe()
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        handles = (theirs.fileno(), self._file.fileno())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, *map(str, handles)],
                pass_fds=handles,
                env=passed | _ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            raise Transient(f"a process for strategies can't be started: {error}") from error
        finally:
            theirs.close()
        return ours

    def _greet(self) -> None:
        try:
            self._exchange((self._folder, self._budget), _START_SECONDS)
        except CellDied as error:
            raise Transient(f"a process for strategies ended as it started: {error.detail}") from None

    def _exchange(self, request: object, seconds: float) -> list[Answer]:
        line = self._line
        if line is None:
            raise Transient("a process for strategies was ended")
        self._progress[:8] = _NO_JOB.to_bytes(8, "little")
        try:
            line.send_bytes(pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL))
            if not line.poll(seconds):
                raise self._died(FaultKind.TIME_OUT, "the process did not answer")
            answers: list[Answer] = json.loads(line.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None
        return answers

    def _died(self, kind: FaultKind | None = None, detail: str = "") -> CellDied:
        job = int.from_bytes(self._progress[:8], "little")
        if kind is not None:
            self.stop()
            return CellDied(-1 if job == _NO_JOB else job, kind, detail)
        code = self._end()
        self.stop()
        return CellDied(-1 if job == _NO_JOB else job, *self._cause(code))

    def _end(self) -> int | None:
        """Return how the process ended. Its line may be closed a moment before."""
        if self._process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SLACK_SECONDS)
        return self._process.returncode

    def _cause(self, code: int | None) -> tuple[FaultKind, str]:
        budget = self._budget
        if code == -signal.SIGPROF:
            return FaultKind.TIME_OUT, f"the call took more than {budget.cpu_seconds:g} s of CPU"
        if code == -signal.SIGALRM:
            return FaultKind.TIME_OUT, f"the call took more than {budget.seconds:g} s"
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return FaultKind.DIED, f"the call ended its process by {name}"
        return FaultKind.DIED, f"the call ended its process with code {code}"


@dataclass
class Cells:
    """Implements `StrategyRunner`. Processes are kept until `close`; a `with` closes them."""

    folder: Path
    budget: Budget = field(default_factory=Budget)
    shared_cells: int = 2
    _cells: dict[str, Cell] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def reaches(self, jobs: Sequence[Job]) -> list[Reach | Failed]:
        """Ask what each instance looks at."""
        return self._all("reach", jobs, None, None, reach_or_fault)

    def steps(self, market: Market, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        """Let each instance decide about the slot."""
        return self._all("step", jobs, market, None, stepped_or_fault)

    def ticks(self, market: Market, tick: Tick, jobs: Sequence[Job]) -> list[Stepped | Failed]:
        """Let each instance look at a tick."""
        return self._all("step", jobs, market, tick, stepped_or_fault)

    def described(self, jobs: Sequence[Job]) -> list[Described | Failed]:
        """Ask what each strategy is and whether its config can be used."""
        return self._all("describe", jobs, None, None, described_or_fault)

    def drawings(self, market: Market, jobs: Sequence[Job]) -> list[tuple[Mapping[str, object], ...] | Failed]:
        """Let each instance show how it stands."""
        return self._all("draw", jobs, market, None, drawing_or_fault)

    def close(self) -> None:
        """End every process."""
        for cell in self._cells.values():
            cell.close()
        self._cells.clear()

    def __enter__(self) -> Cells:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run, by whose they are."""
        return {name: cell.pid for name, cell in self._cells.items() if cell.pid is not None}

    def _all(
        self,
        what: str,
        jobs: Sequence[Job],
        market: Market | None,
        tick: Tick | None,
        read: Callable[[Answer], R | Failed],
    ) -> list[R | Failed]:
        groups = self._groups(jobs)
        if not groups:
            return []
        found: dict[int, R | Failed] = {}
        deadline = time.monotonic() + self.budget.all_seconds

        def ask_group(name: str, places: Sequence[int]) -> None:
            with self._locks[name]:
                for chunk in _chunks(places):
                    ask = Ask(what, tuple(jobs[place] for place in chunk), tick)
                    answers = self._ask(self._cells[name], ask, market, deadline)
                    for place, answer in zip(chunk, answers, strict=True):
                        found[place] = read(answer)

        with ThreadPoolExecutor(len(groups), thread_name_prefix="cells") as pool:
            for done in [pool.submit(ask_group, name, places) for name, places in groups.items()]:
                done.result()
        return [found[place] for place in range(len(jobs))]

    def _ask(self, cell: Cell, ask: Ask, market: Market | None, deadline: float) -> list[Answer]:
        """Ask until every job has an answer; the job that ended the process has its fault, and so has who is late."""
        answers: dict[int, Answer] = {}
        waiting = list(range(len(ask.jobs)))
        while waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                late = f"the calls of all instances took more than {self.budget.all_seconds:g} s, this one waited"
                answers |= {place: {"fault": FaultKind.TIME_OUT.value, "detail": late} for place in waiting}
                logger.warning("{} instances were not called: {}", len(waiting), late)
                break
            try:
                got = cell.ask(replace(ask, jobs=tuple(ask.jobs[place] for place in waiting)), market, left)
            except CellDied as died:
                if died.job < 0:
                    raise Transient(f"strategies could not be called: {died.detail}") from None
                place = waiting.pop(died.job)
                answers[place] = {"fault": died.kind.value, "detail": died.detail}
                logger.warning("Instance {}: {}", ask.jobs[place].instance_id, died.detail)
                continue
            answers |= dict(zip(waiting, got, strict=True))
            waiting = []
        return [answers[place] for place in range(len(ask.jobs))]

    def _groups(self, jobs: Sequence[Job]) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        built_in = {name for name in {job.strategy for job in jobs} if (BUILT_IN_FOLDER / f"{name}.py").is_file()}
        for place, job in enumerate(jobs):
            # One process until there is enough for another: it takes half a second to start.
            shared = f"built-in {place // CHUNK % self.shared_cells + 1}"
            groups.setdefault(shared if job.strategy in built_in else job.strategy, []).append(place)
        for name in groups:
            if name not in self._cells:
                self._cells[name] = Cell(self.folder, self.budget)
                self._locks[name] = threading.Lock()
        return groups


def _chunks(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(places), CHUNK):
        yield places[begin : begin + CHUNK]


def reach_or_fault(answer: Answer) -> Reach | Failed:
    """Read what an instance looks at."""
    if "fault" in answer:
        return _failed(answer)
    pairs = answer["pairs"]
    return Reach(
        tuple(answer["symbols"]),
        pairs if isinstance(pairs, str) else tuple(pairs),
        answer["warmup_bars"],
        answer["has_ticks"],
        answer["digest"],
        answer["trades"],
        answer["whole_bars"],
    )


def stepped_or_fault(answer: Answer) -> Stepped | Failed:
    """Read what came of a call."""
    if "fault" in answer:
        return _failed(answer)
    return Stepped(
        tuple(answer["wishes"]), answer["state"], answer["held_after"], answer["numbers"], tuple(answer["log"])
    )


def described_or_fault(answer: Answer) -> Described | Failed:
    """Read what a strategy is."""
    return _failed(answer) if "fault" in answer else Described(answer["config"], answer["trades"], answer["digest"])


def drawing_or_fault(answer: Answer) -> tuple[Mapping[str, object], ...] | Failed:
    """Read what an instance shows."""
    return _failed(answer) if "fault" in answer else tuple(answer["widgets"])


def _failed(answer: Answer) -> Failed:
    return Failed(FaultKind(answer["fault"]), answer["detail"])
