"""Kill the process that trades a slot at every place that has a name, start it again, and look at what came of it.

Rows 1 to 4 of the faults one has to survive are four of these places: `execution.before_post`,
`execution.after_post`, `relay.before_publish` and `relay.after_publish`. All ordered pairs of places take an hour or
more: `make crash-matrix`.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest

from src.shared.failpoints import FAILPOINTS
from tests.chaos.scene import Outcome, Scene

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
SOURCE = Path(__file__).resolve().parents[2] / "src"
ALL_PAIRS = list(permutations(FAILPOINTS, 2))
# A step that shares no divisor with the number of names comes by all of them.
EACH = 1 if os.environ.get("CRASH_MATRIX") == "all" else 167
KILLED = -signal.SIGKILL


def test_the_slot_opens_closes_and_unwinds(undisturbed: Outcome) -> None:
    of_the_slot = {pair: state for pair, state in undisturbed.trades.items() if pair.endswith("21 17:30")}
    partial = [order for order in undisturbed.orders.values() if order.split()[1] != order.split()[3]]

    assert Counter(of_the_slot.values()) == {"open": 1, "unwound": 1}
    assert Counter(undisturbed.trades.values())["closed"] == len(undisturbed.trades) - 2
    assert partial


def test_every_failpoint_of_the_source_is_in_the_list_and_stands_in_one_place() -> None:
    named = Counter(name for file in SOURCE.rglob("*.py") for name in _named_in(file))

    assert named == Counter(list(FAILPOINTS))


@pytest.mark.parametrize("name", FAILPOINTS)
def test_fault_05_killed_at_a_failpoint_and_again_at_its_second_arrival(
    name: str, slot_scene: Scene, undisturbed: Outcome
) -> None:
    with slot_scene.fresh() as stage:
        first, _ = stage.run_until_done(f"{name}:kill", f"{name}:kill:2")

        assert first == KILLED, f"nothing comes by {name}"
        assert stage.complaints() == []
        assert stage.outcome() == undisturbed


@pytest.mark.parametrize(("first", "second"), ALL_PAIRS[::EACH])
def test_fault_05_killed_at_two_failpoints_in_turn(
    first: str, second: str, slot_scene: Scene, undisturbed: Outcome
) -> None:
    with slot_scene.fresh() as stage:
        ends = stage.run_until_done(f"{first}:kill", f"{second}:kill")

        assert ends[0] == KILLED
        assert stage.complaints() == []
        assert stage.outcome() == undisturbed


def _named_in(file: Path) -> list[str]:
    return re.findall(r'^\s*failpoint\("([^"]+)"\)$', file.read_text(), re.MULTILINE)
