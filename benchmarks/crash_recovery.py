"""How long after a kill -9 around a request the trade is whole again, from the start of the next process."""

from __future__ import annotations

import signal
import time
from statistics import median

from benchmarks.rows import Row
from benchmarks.scratch import trading_database
from src.shared.domain.signals import SignalAction
from tests.fakes.twin_server import running_twin
from tests.integration.execution.processes import QUICK, START, Floor, open_floor, run_armed_slot

REPEATS = 7
AIM_SECONDS = 2.0
REFERENCE = "the same slot with nobody killed"
KILLS = {
    "execution.after_post": "the broker has the order, nobody here knows",
    "execution.before_post": "the order was said to be sent, and was not",
}
WINDOW_SECONDS = float(QUICK["TRADEWINDS_EXECUTION_UNKNOWN_WINDOW_SECONDS"])
"""So long an order is looked for before it is sent again; that much of the second figure is waiting on purpose."""


def rows() -> list[Row]:
    """Enter and leave one pair slot after slot, on a database and a twin of one's own."""
    with trading_database() as database, running_twin(clock=START.isoformat()) as twin:
        url = database.engine.url.render_as_string(hide_password=False)
        with open_floor(url, twin) as floor:
            return measure(floor, REPEATS)


def measure(floor: Floor, repeats: int) -> list[Row]:
    """Measure each kind of kill so many times."""
    # The first process waits for the server of processes to have imported everything.
    _seconds_to_enter(floor, "")
    undisturbed = [_seconds_to_enter(floor, "") for _ in range(repeats)]
    return [_row(floor, repeats, where, what, median(undisturbed)) for where, what in KILLS.items()]


def _row(floor: Floor, repeats: int, where: str, what: str, undisturbed: float) -> Row:
    taken = [_seconds_to_enter(floor, where) for _ in range(repeats)]
    details = {"least": min(taken), "most": max(taken), "window for looking it up": WINDOW_SECONDS}
    name = f"whole again after kill -9: {what}"
    return Row(name, median(taken), "s", REFERENCE, undisturbed, AIM_SECONDS, details)


def _seconds_to_enter(floor: Floor, where: str) -> float:
    """Enter the pair, killed at `where` first if it is named, and leave it again; time the run that gets through."""
    floor.next_slot(SignalAction.ENTER_LONG)
    if where:
        _kill_one(floor, where)
    began = time.perf_counter()
    ends = floor.run_elsewhere(1)
    seconds = time.perf_counter() - began
    if ends != [0] or floor.states()[-1] != "open":
        raise RuntimeError(f"the trade is not whole after a kill at {where or 'no place'}: {floor.states()[-1]}")
    floor.next_slot(SignalAction.EXIT)
    floor.run_here()
    return seconds


def _kill_one(floor: Floor, where: str) -> None:
    child = floor.processes.Process(target=run_armed_slot, args=(floor.database_url, floor.twin.url, f"{where}:kill"))
    child.start()
    child.join()
    if child.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"nothing was killed at {where}: it ended {child.exitcode}")
