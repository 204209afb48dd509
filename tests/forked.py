"""Processes that start at once: each is forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def context() -> ForkServerContext:
    """Start processes from a clean server; there is one for all tests of a session."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.preloaded"])
    return made
