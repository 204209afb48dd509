"""Mean reversion of one symbol: z by hand, and the rules of pairs on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from src.services.strategy_engine.sdk import LineChart, Metric, Target, Text
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.sdk.slot import Held
from src.services.strategy_engine.sdk.step import StepResult, draw
from src.shared.domain.errors import InputInvalid
from tests.unit.strategy_engine.sdk.scene import SLOT, slot_of, taken

KIND = Loader().catalogue().get("mean_reversion")
CONFIG = {"symbol": "KO", "window_bars": 5, "entry_z": 1.5, "stop_z": 1.75, "allow_short": True, "max_held_bars": 3}
# Five log prices, four at 0 and the last at d: mean d/5, distances −d/5 four times and 4d/5, squares 0.8 d².
# So sd is √0.2 d, and z is 0.8 / √0.2 = 1.7889 whatever the size of d.
LAST_OF_FIVE = 0.8 / math.sqrt(0.2)


def closes(*logs: float) -> list[float]:
    return [100 * math.exp(each) for each in logs]


def decided(logs: Sequence[float], held: float = 0.0, state: dict[str, Any] | None = None, **more: Any) -> StepResult:
    at = Held({"KO": held} if held else {})
    return taken(KIND, {**CONFIG, **more}, slot_of({"KO": closes(*logs)}), state, at)


def target(result: StepResult) -> tuple[float, str] | None:
    assert len(result.wishes) <= 1
    found = [(wish.fraction, wish.reason) for wish in result.wishes if isinstance(wish, Target)]
    return found[0] if found else None


def test_z_is_the_distance_from_the_mean_of_the_window_in_deviations() -> None:
    assert decided([0, 0, 0, 0, 0.01]).numbers["z"] == pytest.approx(LAST_OF_FIVE)
    # Before the window nothing counts.
    assert decided([9, 0, 0, 0, 0, -0.02]).numbers["z"] == pytest.approx(-LAST_OF_FIVE)


DOWN, UP = [0, 0, 0, 0, -0.01], [0, 0, 0, 0, 0.01]
NEAR = [0.01, -0.01, 0.01, -0.01, 0.0]


@pytest.mark.parametrize(
    ("logs", "held", "more", "asked"),
    [
        (DOWN, 0.0, {"stop_z": 2.0}, (0.1, "ENTRY_Z")),
        (UP, 0.0, {"stop_z": 2.0, "fraction": 0.25}, (-0.25, "ENTRY_Z")),
        (UP, 0.0, {"stop_z": 2.0, "allow_short": False}, None),
        (DOWN, 0.0, {}, None),
        (DOWN, 0.0, {"entry_z": 1.79, "stop_z": 2.0}, None),
        (NEAR, 0.0, {}, None),
        (DOWN, 0.1, {}, (0.0, "STOP_Z")),
        (UP, -0.1, {}, (0.0, "STOP_Z")),
        (UP, 0.1, {}, (0.0, "SIGN_FLIPPED")),
        (NEAR, 0.1, {}, (0.0, "EXIT_Z")),
        (DOWN, 0.1, {"stop_z": 2.0}, None),
        (DOWN, 0.1, {"stop_z": 2.0, "max_held_bars": 1}, (0.0, "TIME_STOP")),
    ],
)
def test_the_rules_of_pairs_are_its_rules(
    logs: list[float], held: float, more: dict[str, Any], asked: tuple[float, str] | None
) -> None:
    assert target(decided(logs, held, **more)) == asked


@pytest.mark.parametrize("logs", [[0, 0, 0, 0, 0], [0, 0.1, 0], [0, 0, math.nan, 0, 1]])
def test_without_a_full_window_that_moves_there_is_no_decision(logs: list[float]) -> None:
    result = decided(logs, 0.1)

    assert target(result) is None
    assert result.numbers["z"] is None
    assert "no decision" in result.log[0]


def test_it_leaves_after_so_many_bars_and_waits_until_z_has_come_back() -> None:
    """Follow a price that stays far below its mean, as a window of its own each bar."""
    held, state, told = Held(), None, []
    for logs in [DOWN] * 6 + [NEAR, DOWN]:
        result = taken(KIND, {**CONFIG, "stop_z": 2.0}, slot_of({"KO": closes(*logs)}), state, held)
        held, state = held.after(result.wishes, SLOT), result.state
        told.append(target(result))

    assert told == [
        (0.1, "ENTRY_Z"), None, None, (0.0, "TIME_STOP"), None, None, None, (0.1, "ENTRY_Z")
    ]  # fmt: skip
    assert state == {"held_bars": 0, "resting": False}


def test_thresholds_rise() -> None:
    with pytest.raises(InputInvalid, match=r"must rise in this order; they are 0\.5, 3\.0, 3\.0"):
        KIND.config.validate({"symbol": "KO", "entry_z": 3.0})


def test_it_shows_the_closes_between_the_bands_of_entry() -> None:
    config = KIND.config.validate({**CONFIG, "entry_z": 1.5})

    z, held, chart = draw(KIND, config, {}, slot_of({"KO": closes(*UP)}), Held({"KO": 0.1}))

    assert isinstance(z, Metric)
    assert isinstance(held, Metric)
    assert isinstance(chart, LineChart)
    assert z.value == pytest.approx(LAST_OF_FIVE)
    assert held.value == 0.1
    sd = math.sqrt(0.2) * 0.01
    lines = {line.name: line.values[0] for line in chart.lines}
    assert lines["mean"] == pytest.approx(100 * math.exp(0.002))
    assert lines["upper band"] == pytest.approx(100 * math.exp(0.002 + 1.5 * sd))
    assert isinstance(draw(KIND, config, {}, slot_of({"KO": [100.0]}))[-1], Text)
