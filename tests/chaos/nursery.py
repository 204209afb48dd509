"""A process that has done a piece of work once and does each further one in a fork of itself.

What is imported, read and compiled on the way is there already when the fork begins; connections are not: the work
gives them back before.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from loguru import logger

from src.shared.domain.errors import Transient
from tests.forked import context

TRANSIENT = os.EX_TEMPFAIL
"""How a fork ends whose work failed in a way that a retry may mend; 1 is any other failure."""

Work = Callable[[dict[str, str], str], None]


@dataclass(frozen=True)
class Nursery:
    """Does work in processes of their own, one after the other."""

    line: Connection

    def run(self, environment: dict[str, str], failpoints: str, seconds: float) -> int:
        """Do it in a fork and return how that ended; a fork that takes longer is ended and an error."""
        self.line.send((environment, failpoints))
        pid = self.line.recv()
        in_time = self.line.poll(seconds)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        ended: int = self.line.recv()
        assert in_time, f"still running after {seconds:g} s with {failpoints!r}"
        return ended


@contextmanager
def nursery(work: Work, give_back: Callable[[], None], environment: dict[str, str]) -> Iterator[Nursery]:
    """Start one that has done its work once, here and now."""
    ours, theirs = context().Pipe()
    keeper = context().Process(target=_keep, args=(theirs, work, give_back, environment))
    keeper.start()
    theirs.close()
    try:
        assert ours.recv() == 0, "the work could not be done"
        yield Nursery(ours)
    finally:
        ours.close()
        keeper.join(10)
        keeper.kill()
        keeper.join()


def _keep(line: Connection, work: Work, give_back: Callable[[], None], environment: dict[str, str]) -> None:
    logger.remove()
    work(environment, "")
    give_back()
    # What is there already is never collected: a fork that looks through it would copy all of it.
    gc.collect()
    gc.freeze()
    line.send(0)
    while (asked := _next(line)) is not None:
        pid = os.fork()
        if pid == 0:
            os._exit(_end_of(work, *asked))
        line.send(pid)
        line.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _next(line: Connection) -> Any:
    try:
        return line.recv()
    except EOFError:
        return None


def _end_of(work: Work, environment: dict[str, str], failpoints: str) -> int:
    try:
        work(environment, failpoints)
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        return TRANSIENT if isinstance(error, Transient) else 1
    return 0
