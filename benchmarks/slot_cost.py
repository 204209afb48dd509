"""What one slot asks of the broker and of the database: requests and commits, idle and opening a pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import select

from benchmarks.rows import Row
from benchmarks.traded_slot import NEXT_SLOT, SLOT, TRUE_PAIRS, Counted, services_on_a_twin, trade
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.tables import pair_signal
from tests.fakes.twin_server import TwinAdmin
from tests.integration.execution.processes import approve

SIZES = (1, 20)
HELD = (1, len(TRUE_PAIRS))
REQUESTS_AIM, COMMITS_AIM = 12, 20
OPENING_REQUESTS_AIM, OPENING_COMMITS_AIM = 25, 30
ORDERS_A_PAIR = 2
NO_ENTRIES = {"TRADEWINDS_RISK_TRADING_ENABLED": "false"}
# Nothing is entered by itself, and what is held stays so until its spread goes to the other side of zero.
NO_SIGNALS = {
    "TRADEWINDS_STRATEGY_EXIT_Z": "0.001",
    "TRADEWINDS_STRATEGY_ENTRY_Z": "98",
    "TRADEWINDS_STRATEGY_STOP_Z": "99",
}

Counts = Counter[str]


def rows() -> list[Row]:
    """Count on a fresh database and a fresh twin for each figure."""
    opening = {f"{size} watched": count_opening(size) for size in SIZES}
    idle = {f"{size} active, nothing held": count_idle(size) for size in SIZES}
    held = {f"{size} held": count_holding(TRUE_PAIRS[:size]) for size in HELD}
    opened = _rows("slot that opens one pair", opening, OPENING_REQUESTS_AIM, OPENING_COMMITS_AIM)
    return [*opened, *_order_rows(opening), *_idle_rows(idle), *_idle_rows(held)]


def _idle_rows(found: dict[str, Counts]) -> Iterator[Row]:
    return _rows("idle slot", found, REQUESTS_AIM, COMMITS_AIM)


def _rows(slot: str, found: dict[str, Counts], requests_aim: int, commits_aim: int) -> Iterator[Row]:
    reference, alone = "the same slot with one pair", next(iter(found.values()))
    for size, counts in found.items():
        requests, commits = counts["requests"], counts["commit"]
        yield Row(f"{slot}, {size}: broker requests", requests, "", reference, alone["requests"], requests_aim)
        statements = {"statements": counts["after_cursor_execute"]}
        yield Row(f"{slot}, {size}: commits", commits, "", reference, alone["commit"], commits_aim, statements)


def _order_rows(found: dict[str, Counts]) -> Iterator[Row]:
    for size, counts in found.items():
        name = f"slot that opens one pair, {size}: orders among its requests"
        yield Row(name, counts["orders"], "", "its legs", ORDERS_A_PAIR, ORDERS_A_PAIR)


def count_opening(size: int) -> Counts:
    """Count in a slot that opens the one active pair of so many; "orders" are those sent, of all "requests"."""
    with services_on_a_twin(size) as (wired, twin):
        counts = _counted(wired, twin, SLOT)
        assert wired.activity.read().count("open") == 1
    return counts


def count_idle(size: int) -> Counts:
    """Count in a slot of so many active pairs of which none is held, and none may be entered."""
    with services_on_a_twin(size, active=size, **NO_ENTRIES) as (wired, twin):
        trade(wired, twin, SLOT)
        counts = _counted(wired, twin, NEXT_SLOT)
        assert not wired.activity.read().trades
    return counts


def count_holding(pairs: Sequence[tuple[str, str]]) -> Counts:
    """Count in a slot in which each of these active pairs is held and stays so."""
    with services_on_a_twin(len(pairs), active=len(pairs), **NO_SIGNALS) as (wired, twin):
        trade(wired, twin, SLOT)
        _enter(wired)
        counts = _counted(wired, twin, NEXT_SLOT)
        assert wired.activity.read().count("open") == len(pairs)
    return counts


def _enter(wired: Counted) -> None:
    """Enter every pair by hand, each on the side on which its spread is."""
    s = pair_signal.c
    with wired.engine.connect() as connection:
        seen = connection.execute(select(s.pair_id, s.numbers["z"].as_float()).where(s.slot == SLOT)).all()
    gate = wired.execution.cycle.open_gate()
    for pair, z in seen:
        action = SignalAction.ENTER_LONG if z < 0 else SignalAction.ENTER_SHORT
        approve(wired.engine, gate.slot, action, pair, (4, -4) if z < 0 else (-4, 4))
    wired.execution.cycle.execute_slot(gate)


def _counted(wired: Counted, twin: TwinAdmin, slot: datetime) -> Counts:
    before = twin.state()["order_posts"]
    wired.counts.found.clear()
    trade(wired, twin, slot)
    return wired.counts.found + Counter(orders=twin.state()["order_posts"] - before)
