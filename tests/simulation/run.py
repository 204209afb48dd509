"""Run seeds: `python -m tests.simulation.run --first 1 --seeds 500 --jobs 2`, or one of them with `--trace`."""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.shared.failpoints import Crashed
from src.shared.infra.embedded.postgres import EmbeddedPostgres
from tests.simulation.schedule import STEPS, Schedule
from tests.simulation.world import Violation, World, make_template

_IN_A_HURRY = (
    "fsync = off",
    "full_page_writes = off",
    "synchronous_commit = off",
    "autovacuum = off",
    "jit = off",
    "plan_cache_mode = force_generic_plan",
)


PATIENCE_SECONDS = 300
"""A seed that takes longer is stalled: it counts as failed, and the rest goes on without it."""

_START_SECONDS = 120
_PROGRESS_SECONDS = 30
_LINES_OF_A_STALLED = 25


class Stalled(BaseException):
    """A seed takes too long. Not an `Exception`: nothing on the way is to take it for a failure of its own."""


@dataclass(frozen=True)
class Result:
    """How a seed ended. `digest` names its trace, which a seed has each time; `last` is its end where it broke."""

    seed: int
    failure: str | None
    digest: str
    requests: int
    last: tuple[str, ...] = ()


def run_seed(world: World, seed: int, steps: int = STEPS, patience: int = PATIENCE_SECONDS) -> Result:
    """Run one seed. Whatever goes wrong in it is its failure."""
    failure: str | None = None
    last: tuple[str, ...] = ()
    try:
        with _bounded(patience), world.seed(seed):
            Schedule(world).run(steps)
    except Violation as violation:
        failure = f"step {violation.step}: {violation}"
    except Stalled:
        failure, last = f"stalled: it was not over after {patience} s", _where(world)
    except (Exception, Crashed) as error:
        failure, last = f"broke: {type(error).__name__}: {error}", _where(world)
    digest = hashlib.sha256("\n".join(world.trace.lines).encode()).hexdigest()[:16]
    return Result(seed, failure, digest, world.network.sent, last)


@contextmanager
def _bounded(seconds: int) -> Iterator[None]:
    def stall(*_: object) -> None:
        raise Stalled

    before = signal.signal(signal.SIGALRM, stall)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _where(world: World) -> tuple[str, ...]:
    stack = traceback.format_exc(limit=-6).rstrip().splitlines()
    return (*world.trace.lines[-_LINES_OF_A_STALLED:], *stack)


@contextmanager
def simulation_server() -> Iterator[EmbeddedPostgres]:
    """Start a PostgreSQL for simulations, with the template that every seed starts from."""
    with tempfile.TemporaryDirectory(prefix="tradewinds-chaos-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder) / "postgres", durable=False)
        server.start()
        try:
            with server.connect() as admin:
                # Nothing here outlives the server.
                for setting in _IN_A_HURRY:
                    admin.execute(f"ALTER SYSTEM SET {setting}")
                admin.execute("SELECT pg_reload_conf()")
            server.provision()
            make_template(server)
            yield server
        finally:
            server.stop("immediate")


def main() -> int:
    """Run what the command line asks for; 1 when a seed failed."""
    asked = _arguments()
    # Ended by a signal it still stops its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["TRADEWINDS_ENV_FILE"] = os.devnull
    for name in [name for name in os.environ if name.startswith("TRADEWINDS_") and name != "TRADEWINDS_ENV_FILE"]:
        del os.environ[name]
    with simulation_server() as server:
        return _run_all(server, asked)


def _run_all(server: EmbeddedPostgres, asked: argparse.Namespace) -> int:
    seeds, failed = range(asked.first, asked.first + asked.seeds), []
    shown = _say if asked.trace else None
    began = told = time.monotonic()
    for count, result in enumerate(_results(server, seeds, asked, shown), start=1):
        if result.failure or shown:
            _say(f"seed {result.seed}: {result.failure or 'all holds'} (trace {result.digest})")
        for line in result.last:
            _say(f"    {line}")
        failed += [result.seed] if result.failure else []
        if time.monotonic() - told > _PROGRESS_SECONDS and shown is None:
            told = time.monotonic()
            _say(f"… {count} of {len(seeds)} seeds, {len(failed)} failed, {told - began:.0f} s")
    _say(f"{len(seeds)} seeds, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    if failed and shown is None:
        _say(f"see one again: make chaos SEEDS=1 FIRST_SEED={min(failed)} VERBOSE=1")
    return 1 if failed else 0


def _results(
    server: EmbeddedPostgres, seeds: range, asked: argparse.Namespace, shown: Callable[[str], None] | None
) -> Iterator[Result]:
    if asked.jobs == 1 or shown is not None:
        _hurry()
        world = World(server, shown)
        yield from (run_seed(world, seed, asked.steps, asked.patience) for seed in seeds)
        world.close()
        return
    context = multiprocessing.get_context("spawn")
    work = [(seed, asked.steps, asked.patience) for seed in seeds]
    left = set(seeds)
    with context.Pool(asked.jobs, _begin_worker, (server.folder,)) as pool:
        results = pool.imap_unordered(_work, work)
        while left:
            try:
                result = results.next(_START_SECONDS + 2 * asked.patience)
            except multiprocessing.TimeoutError:
                # Not even its alarm ended a seed, or its process is gone: the pool does not get to the others either.
                yield Result(min(left), f"no seed ends any more, {len(left)} are left", "unknown", 0)
                return
            left.discard(result.seed)
            yield result


_world: list[World] = []


def _begin_worker(folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _hurry()
    _world.append(World(EmbeddedPostgres(folder)))


def _work(asked: tuple[int, int, int]) -> Result:
    return run_seed(_world[0], *asked)


def _hurry() -> None:
    """Collect garbage seldom: a seed makes little of it that lives in circles."""
    gc.set_threshold(100_000, 20, 20)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--steps", type=int, default=STEPS, help="operations a seed")
    parser.add_argument("--patience", type=int, default=PATIENCE_SECONDS, help="seconds a seed may take")
    parser.add_argument("--trace", action="store_true", help="print every operation and request")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
