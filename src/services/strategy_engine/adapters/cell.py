"""A process in which strategies are called: it holds no keys and no connection, and the system ends it in time.

Run by `cells.py`: `python -m src.services.strategy_engine.adapters.cell REQUESTS PROGRESS`, two inherited file
descriptors. Requests come pickled from our own process, answers go back as JSON. Before each call its number goes
into the progress file, so that whoever finds this process dead knows whose call it was. Timers of the kernel end the
process when a call takes too much CPU or too long, also where Python has no say; a limit on its address space ends a
greedy one.
"""

from __future__ import annotations

import json
import mmap
import pickle
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from src.services.strategy_engine.domain.instances import Job
from src.services.strategy_engine.ports import Market
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Loader
from src.services.strategy_engine.sdk.slot import Held, SlotData
from src.services.strategy_engine.sdk.step import StepResult, draw, initialise, step
from src.services.strategy_engine.sdk.stored import held_from, held_json
from src.services.strategy_engine.sdk.strategy import StrategyType
from src.services.strategy_engine.sdk.widgets import WIDGETS
from src.services.strategy_engine.sdk.wishes import WISHES
from src.shared.domain.errors import InputInvalid, StrategyFault
from src.shared.domain.instances import FaultKind
from src.shared.domain.ticks import Tick

PROGRESS_BYTES = mmap.PAGESIZE


@dataclass(frozen=True)
class Budget:
    """What one call may take: seconds of CPU and of the clock; and megabytes for the process beyond its own.

    `all_seconds` is for the calls of all instances together, such as those of a slot: others wait for their end.
    """

    cpu_seconds: float = 2.0
    seconds: float = 20.0
    megabytes: int = 512
    all_seconds: float = 60.0


@dataclass(frozen=True)
class Ask:
    """What is asked of all jobs of a request."""

    what: str
    jobs: tuple[Job, ...]
    tick: Tick | None = None


Answer = Mapping[str, Any]


@dataclass
class Cell:
    """Answers requests one after the other. It keeps loaded files, checked configs and the market of the slot."""

    folder: Path
    budget: Budget
    progress: mmap.mmap
    market: SlotData | None = None
    _loader: Loader = field(default_factory=Loader)
    _configs: dict[tuple[str, str], BaseModel] = field(default_factory=dict)
    _kinds: dict[str, StrategyType] = field(default_factory=dict)

    def answer(self, request: Market | Ask) -> list[Answer]:
        """Take in a market, or call each job's strategy."""
        if isinstance(request, Market):
            ticks = MappingProxyType(dict(request.ticks))
            self.market = SlotData(request.time, request.series, request.pairs, ticks, request.whole)
            return []
        # A file that was edited since the last request counts from this one on.
        self._kinds.clear()
        if request.tick is not None and self.market is not None:
            newer = {**self.market.ticks, request.tick.symbol: request.tick.price}
            self.market = replace(self.market, ticks=MappingProxyType(newer))
        return [self._one(number, _CALLS[request.what], job, request.tick) for number, job in enumerate(request.jobs)]

    def kind(self, job: Job) -> StrategyType:
        """Load the strategy of a job."""
        if job.strategy not in self._kinds:
            name = f"{job.strategy}.py"
            built_in = BUILT_IN_FOLDER / name
            is_ours = built_in.is_file()
            self._kinds[job.strategy] = self._loader.load(
                built_in if is_ours else self.folder / name, built_in=is_ours
            )
        return self._kinds[job.strategy]

    def config(self, kind: StrategyType, job: Job) -> BaseModel:
        """Check the config of a job, once for the same values and file."""
        key = kind.digest, json.dumps([job.strategy, job.config], sort_keys=True)
        if key not in self._configs:
            self._configs[key] = kind.config.validate(job.config)
        return self._configs[key]

    def _one(self, number: int, call: Call, job: Job, tick: Tick | None) -> Answer:
        self.progress[:8] = number.to_bytes(8, "little")
        _start_timers(self.budget)
        try:
            return call(self, job, tick)
        except InputInvalid as error:
            return {"fault": FaultKind.BROKEN.value, "detail": str(error)}
        except (StrategyFault, MemoryError, RecursionError) as error:
            kind = FaultKind.MEMORY if _is_about_memory(error) else FaultKind.EXCEPTION
            return {"fault": kind.value, "detail": str(error) or type(error).__name__}
        except Exception as error:
            return {"fault": FaultKind.EXCEPTION.value, "detail": f"{type(error).__name__}: {error}"}
        finally:
            _stop_timers()


def _reach(cell: Cell, job: Job, tick: Tick | None) -> Answer:
    del tick
    kind = cell.kind(job)
    config = cell.config(kind, job)
    return {
        "symbols": kind.symbols(config),
        "pairs": kind.pairs(config),
        "warmup_bars": kind.warmup_bars(config),
        "has_ticks": kind.has_ticks,
        "whole_bars": kind.whole_bars,
        "digest": kind.digest,
        "trades": kind.trades,
    }


def _step(cell: Cell, job: Job, tick: Tick | None) -> Answer:
    kind, market, held = cell.kind(job), _market(cell), held_from(job.held)
    result = step(kind, cell.config(kind, job), job.state, market, held, tick=tick)
    return _stepped(result, held, market)


def _draw(cell: Cell, job: Job, tick: Tick | None) -> Answer:
    del tick
    kind, market, held = cell.kind(job), _market(cell), held_from(job.held)
    config = cell.config(kind, job)
    state = initialise(kind, config, market, held).state if job.state is None else job.state
    return {"widgets": WIDGETS.dump_python(draw(kind, config, state, market, held), mode="json")}


def _describe(cell: Cell, job: Job, tick: Tick | None) -> Answer:
    del tick
    kind = cell.kind(job)
    config = kind.config.stored(job.config)
    return {"config": config, "trades": kind.trades, "digest": kind.digest}


Call = Callable[[Cell, Job, Tick | None], Answer]

_CALLS: Mapping[str, Call] = {"reach": _reach, "describe": _describe, "step": _step, "draw": _draw}


def _market(cell: Cell) -> SlotData:
    if cell.market is None:
        raise RuntimeError("a cell is told of the market before it is asked about it")
    return cell.market


def _stepped(result: StepResult, held: Held, market: SlotData) -> Answer:
    return {
        "wishes": WISHES.dump_python(result.wishes, mode="json"),
        "state": result.state,
        "held_after": held_json(held.after(result.wishes, market.time.slot)),
        "numbers": dict(result.numbers),
        "log": list(result.log),
    }


def _is_about_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__
    return False


def _start_timers(budget: Budget) -> None:
    # What these signals do by themselves is to end the process.
    signal.setitimer(signal.ITIMER_PROF, budget.cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, budget.seconds)


def _stop_timers() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _bound_memory(megabytes: int) -> None:
    """Let the process grow by so much over what it has now. Systems that do not count addresses are left alone."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(arguments: Sequence[str]) -> None:
    """Answer until the other side is gone."""
    requests, progress = (int(each) for each in arguments)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    # Ctrl-C in a terminal is meant for the engine, which ends its cells.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(requests) as line:
        folder, budget = pickle.loads(line.recv_bytes())  # noqa: S301 - from our own process
        cell = Cell(folder, budget, mmap.mmap(progress, PROGRESS_BYTES))
        _bound_memory(budget.megabytes)
        line.send_bytes(b"[]")
        try:
            while True:
                request = pickle.loads(line.recv_bytes())  # noqa: S301 - from our own process
                line.send_bytes(json.dumps(cell.answer(request)).encode())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
