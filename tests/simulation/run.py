"""Run seeds: `python -m tests.simulation.run --first 1 --seeds 500 --jobs 2`, or one of them with `--trace`."""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Result:
    """How a seed ended. `digest` names its trace: the same seed has the same one."""

    seed: int
    failure: str | None
    digest: str
    requests: int


def run_seed(world: World, seed: int, steps: int = STEPS) -> Result:
    """Run one seed."""
    failure = None
    with world.seed(seed):
        try:
            Schedule(world).run(steps)
        except Violation as violation:
            failure = f"step {violation.step}: {violation}"
    digest = hashlib.sha256("\n".join(world.trace.lines).encode()).hexdigest()[:16]
    return Result(seed, failure, digest, world.network.sent)


@contextmanager
def simulation_server() -> Iterator[EmbeddedPostgres]:
    """Start a PostgreSQL for simulations, with the template that every seed starts from."""
    with tempfile.TemporaryDirectory(prefix="tradewinds-chaos-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder) / "postgres")
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
    began = time.monotonic()
    with simulation_server() as server:
        seeds = range(asked.first, asked.first + asked.seeds)
        shown = _say if asked.trace else None
        failed = 0
        for result in _results(server, seeds, asked.jobs if shown is None else 1, asked.steps, shown):
            if result.failure or shown:
                _say(f"seed {result.seed}: {result.failure or 'all holds'} (trace {result.digest})")
            failed += result.failure is not None
    _say(f"{len(seeds)} seeds, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _results(
    server: EmbeddedPostgres, seeds: Iterable[int], jobs: int, steps: int, shown: Callable[[str], None] | None
) -> Iterator[Result]:
    if jobs == 1:
        world = World(server, shown)
        yield from (run_seed(world, seed, steps) for seed in seeds)
        world.close()
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _begin_worker, (server.folder,)) as pool:
        yield from pool.imap_unordered(_work, [(seed, steps) for seed in seeds])


_world: list[World] = []


def _begin_worker(folder: Path) -> None:
    _world.append(World(EmbeddedPostgres(folder)))


def _work(asked: tuple[int, int]) -> Result:
    return run_seed(_world[0], *asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--steps", type=int, default=STEPS, help="operations a seed")
    parser.add_argument("--trace", action="store_true", help="print every operation and request")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
