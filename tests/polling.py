"""Waiting for what must come to hold, with a bound: never longer than needed, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

BOUND = 30.0
"""Seconds after which what was expected is held not to happen any more."""


def eventually(holds: Callable[[], bool], seconds: float = BOUND, pause: float = 0.02) -> None:
    """Return as soon as something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(pause)
