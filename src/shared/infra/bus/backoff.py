"""How long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from `first` to `longest` seconds, with jitter so that processes don't come back in step."""

    def __init__(self, first: float = 0.1, longest: float = 5.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def next(self) -> float:
        """Return the seconds to wait now."""
        seconds, self._next = self._next, min(self._next * 2, self._longest)
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311  (jitter is no secret)

    def reset(self) -> None:
        """Begin again: something worked."""
        self._next = self._first
