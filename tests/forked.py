"""Processes that start at once: each is forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

_SCRIPT_SECONDS = 120


def context() -> ForkServerContext:
    """Start processes from a clean server; there is one for all tests of a session."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.preloaded"])
    return made


def run_script(path: Path, *words: str, variables: Mapping[str, str], folder: Path) -> CompletedProcess[str]:
    """Run a script as a process of its own that need not import anything any more; what it takes is what it gets."""
    with TemporaryDirectory() as said:
        out, err = Path(said) / "out", Path(said) / "err"
        child = context().Process(target=_run, args=(path, words, dict(variables), folder, out, err))
        child.start()
        child.join(_SCRIPT_SECONDS)
        if child.exitcode is None:
            child.kill()
            raise TimeoutError(f"{path.name} {' '.join(words)} did not end")
        return CompletedProcess([str(path), *words], child.exitcode, out.read_text(), err.read_text())


def _run(path: Path, words: Sequence[str], variables: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
    for descriptor, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = [str(path), *words]
    runpy.run_path(str(path), run_name="__main__")
