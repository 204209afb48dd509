"""Kill the process that trades a slot at every place that has a name, start it again, and look at what came of it.

Rows 1 to 4 of the faults one has to survive are four of these places: `execution.before_post`,
`execution.after_post`, `relay.before_publish` and `relay.after_publish`. All ordered pairs of places take hours:
`make crash-matrix`, whole or in parts.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from src.shared.failpoints import FAILPOINTS, OF_A_SLOT
from tests.chaos.scene import LANES, Outcome, Scene

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
SOURCE = Path(__file__).resolve().parents[2] / "src"
KILLED = -signal.SIGKILL

Kills = tuple[str, ...]
"""What each process in turn is armed with; after them one runs undisturbed."""

ALL_IN_A_ROW: list[Kills] = [(f"{name}:kill", f"{name}:kill:2") for name in OF_A_SLOT]
ALL_PAIRS: list[Kills] = [(f"{first}:kill", f"{second}:kill") for first, second in permutations(OF_A_SLOT, 2)]
ALL_LATER: list[Kills] = [(f"{name}:kill:{nth}",) for name in OF_A_SLOT for nth in (2, 3)]
PART = os.environ.get("CRASH_MATRIX")
"""Which part is done, such as 3/16, the third of sixteen that make the whole; without it only a sample."""


def _part() -> tuple[list[Kills], list[Kills], list[Kills]]:
    if PART is None:
        # Steps that share no divisor with the number of names come by all of them.
        return ALL_IN_A_ROW, ALL_LATER[::17], ALL_PAIRS[:: len(ALL_PAIRS) // 12 + 1]
    nth, parts = (int(number) for number in PART.split("/"))
    return ALL_IN_A_ROW[nth - 1 :: parts], ALL_LATER[nth - 1 :: parts], ALL_PAIRS[nth - 1 :: parts]


IN_A_ROW, LATER, PAIRS = _part()


@pytest.fixture(scope="module")
def objections(request: pytest.FixtureRequest, slot_scene: Scene, undisturbed: Outcome) -> Iterator[Any]:
    """Do what the tests of this module were chosen for, several at once; answers with what is wrong with one."""
    chosen = [kills for item in request.session.items if (kills := _kills_of(item))]
    with ThreadPoolExecutor(LANES) as pool:
        found = {kills: pool.submit(_objections, slot_scene, undisturbed, kills) for kills in chosen}
        try:
            yield lambda kills: found[kills].result()
        finally:
            pool.shutdown(cancel_futures=True)


def _kills_of(item: Any) -> Kills | None:
    is_ours = item.path == Path(__file__) and hasattr(item, "callspec")
    return item.callspec.params["kills"] if is_ours else None


def _objections(scene: Scene, undisturbed: Outcome, kills: Kills) -> list[str]:
    """Trade the slot, killed and killed again, and say what is wrong with what it came to."""
    with scene.fresh() as stage:
        ends = stage.run_until_done(*kills)
        found = stage.complaints()
        found += stage.differences(undisturbed)
    # The first place of all must be come by; a later arrival may not be.
    if ends[0] != KILLED and kills[0].endswith(":kill"):
        found.append(f"nothing comes by {kills[0]}")
    return found


def test_the_slot_opens_closes_and_unwinds(undisturbed: Outcome) -> None:
    of_the_slot = {pair: state for pair, state in undisturbed.trades.items() if pair.endswith("21 17:30")}
    partial = [order for order in undisturbed.orders.values() if order.split()[1] != order.split()[3]]

    assert Counter(of_the_slot.values()) == {"open": 2, "unwound": 1}
    assert of_the_slot["single:KELV 21 17:30"] == "open"
    assert undisturbed.trades["belated:QVEL 20 14:30"] == "unwound"
    assert Counter(undisturbed.trades.values())["closed"] == len(undisturbed.trades) - 4
    assert undisturbed.entries == {"cash_dividend": 1}
    assert partial


def test_every_failpoint_of_the_source_is_in_the_list_and_stands_in_one_place() -> None:
    named = Counter(name for file in SOURCE.rglob("*.py") for name in _named_in(file))

    assert named == Counter(list(FAILPOINTS))


@pytest.mark.parametrize("kills", IN_A_ROW, ids=", ".join)
def test_fault_05_killed_at_a_failpoint_and_again_at_its_second_arrival(
    kills: Kills, objections: Callable[[Kills], list[str]]
) -> None:
    assert objections(kills) == []


@pytest.mark.parametrize("kills", LATER, ids=", ".join)
def test_fault_05_killed_when_it_comes_by_a_failpoint_once_more(
    kills: Kills, objections: Callable[[Kills], list[str]]
) -> None:
    assert objections(kills) == []


@pytest.mark.parametrize("kills", PAIRS, ids=", ".join)
def test_fault_05_killed_at_two_failpoints_in_turn(kills: Kills, objections: Callable[[Kills], list[str]]) -> None:
    assert objections(kills) == []


def _named_in(file: Path) -> list[str]:
    return re.findall(r'^\s*failpoint\("([^"]+)"\)$', file.read_text(), re.MULTILINE)
