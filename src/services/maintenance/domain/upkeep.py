"""Which log files are old, and which tables want a vacuum."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

_LOG = re.compile(r"tradewinds-[a-z][a-z_-]*\.(?P<day>\d{4}-\d{2}-\d{2})\.jsonl")
_LEAST_DEAD_ROWS = 1000
_DEAD_FRACTION = 0.1


@dataclass(frozen=True)
class CleanUp:
    """Log files that were removed, and the bytes that they took."""

    files: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class TableState:
    """A table, or a partition of one: rows by the server's estimate, dead ones, bytes with indexes."""

    name: str
    live_rows: int
    dead_rows: int
    bytes: int

    @property
    def wants_vacuum(self) -> bool:
        """Say whether a tenth of it, and not just a handful, is dead."""
        return self.dead_rows >= _LEAST_DEAD_ROWS and self.dead_rows >= _DEAD_FRACTION * self.live_rows


@dataclass(frozen=True)
class Treatment:
    """What was done to a table; `refused` says why it was not."""

    before: TableState
    after: TableState
    vacuumed: bool
    refused: str


def is_old_log(name: str, today: date, keep_days: int) -> bool:
    """Say whether a file is a day's log of ours that ended longer ago than it is kept."""
    found = _LOG.fullmatch(name)
    if found is None:
        return False
    try:
        day = date.fromisoformat(found["day"])
    except ValueError:
        return False
    return day < today - timedelta(days=keep_days)
