"""What one slot asks of the broker and of the database: requests and commits, idle and opening a pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.rows import Row
from benchmarks.traded_slot import NEXT_SLOT, SLOT, services_on_a_twin, trade

SIZES = (1, 20)
IDLE_AIM = 12
OPENING_AIM = 25
LOCAL = "the same slot with one pair"


@dataclass(frozen=True)
class Measured:
    """What the slots of one number of pairs cost."""

    idle: Counter[str]
    opening: Counter[str]


def rows() -> list[Row]:
    """Count on a fresh database and a fresh twin for each number of pairs."""
    found = {size: _measure(size) for size in SIZES}
    one = found[SIZES[0]]
    return [row for size in SIZES for row in _rows(size, found[size], one)]


def _rows(size: int, found: Measured, one: Measured) -> Iterator[Row]:
    for what, counts, alone, aim in (
        ("idle slot", found.idle, one.idle, IDLE_AIM),
        ("slot that opens one pair", found.opening, one.opening, OPENING_AIM),
    ):
        name = f"{what}, {_pairs(size)}: broker requests"
        details = {"commits": counts["commit"], "statements": counts["after_cursor_execute"]}
        yield Row(name, counts["requests"], "", LOCAL, alone["requests"], aim, details)
    alone_commits = one.idle["commit"]
    yield Row(f"idle slot, {_pairs(size)}: commits", found.idle["commit"], "", LOCAL, alone_commits, 20)


def _pairs(size: int) -> str:
    return "1 pair" if size == 1 else f"{size} pairs"


def _measure(size: int) -> Measured:
    with services_on_a_twin(size) as (wired, twin):
        wired.counts.found.clear()
        trade(wired, twin, SLOT)
        opening = Counter(wired.counts.found)
        assert wired.activity.read().count("open") == 1
    # With entries switched off the same market gives a slot that opens nothing.
    with services_on_a_twin(size, TRADEWINDS_RISK_TRADING_ENABLED="false") as (wired, twin):
        trade(wired, twin, SLOT)
        wired.counts.found.clear()
        trade(wired, twin, NEXT_SLOT)
        idle = Counter(wired.counts.found)
        assert not wired.activity.read().trades
    return Measured(idle, opening)
