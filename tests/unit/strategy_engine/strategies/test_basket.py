"""A basket: weights by Johansen's test, z of the weighted spread, and the rules of pairs on it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from src.services.strategy_engine.sdk import LineChart, Table, Target, Text
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.sdk.slot import Held, SlotData
from src.services.strategy_engine.sdk.step import StepResult, draw, step
from src.shared.domain.bars import Floats
from src.shared.domain.errors import InputInvalid
from tests.unit.strategy_engine.sdk.scene import SLOT, slot_of

KIND = Loader().catalogue().get("basket")
LEGS = ("AAA", "BBB", "CCC")
CONFIG: dict[str, Any] = {"symbols": list(LEGS), "fit_bars": 600, "refit_bars": 1000, "entry_z": 1.5, "stop_z": 5.0}


def logs_of(seed: int, bars: int, reverting: float) -> Floats:
    """Two random walks, and a third leg that stays near their mean (reverting < 1) or does not (= 1)."""
    generator = np.random.default_rng(seed)
    walks = np.cumsum(0.004 * generator.standard_normal((bars, 2)), axis=0) + 4.0
    noise = np.zeros(bars)
    for i in range(1, bars):
        noise[i] = reverting * noise[i - 1] + 0.004 * generator.standard_normal()
    return np.column_stack([walks, walks.mean(axis=1) + noise])


def slot_at(logs: Floats, row: int) -> SlotData:
    closes = np.exp(logs[: row + 1][-620:])
    return slot_of({leg: closes[:, i].tolist() for i, leg in enumerate(LEGS)})


def run(logs: Floats, first: int, **more: Any) -> list[tuple[StepResult, Held]]:
    """Step through the bars from one on; each result with what was held before it."""
    config = KIND.config.validate({**CONFIG, **more})
    state, held, steps = None, Held(), []
    for row in range(first, len(logs)):
        result = step(KIND, config, state, slot_at(logs, row), held)
        steps.append((result, held))
        state, held = result.state, held.after(result.wishes, SLOT)
    return steps


def fit_of(result: StepResult) -> dict[str, Any]:
    fit = result.state["fit"]
    assert isinstance(fit, dict)
    return fit


def test_the_weights_are_those_of_johansens_test_as_shares_of_the_gross() -> None:
    logs = logs_of(1, 600, 0.9)
    vector = coint_johansen(logs, 0, 1).evec[:, 0]

    ((result, _),) = run(logs, 599)

    weights = np.array(fit_of(result)["weights"])
    assert np.abs(weights).sum() == pytest.approx(1.0)
    assert weights[0] > 0
    assert weights / weights[2] == pytest.approx(vector / vector[2])
    assert fit_of(result)["objections"] == []
    window = fit_of(result)["window_bars"]
    spread = logs[-window:] @ weights
    assert result.numbers["z"] == pytest.approx((spread[-1] - spread.mean()) / spread.std(ddof=1))


def test_it_is_entered_against_the_spread_with_every_leg_in_its_share_and_left_whole() -> None:
    steps = run(logs_of(2, 720, 0.9), 599, fraction=0.5)

    entries = [(result, held) for result, held in steps if result.wishes and not held.fractions]
    exits = [result for result, held in steps if result.wishes and held.fractions]
    assert len(entries) >= 2
    assert len(exits) >= 1
    for result, _ in entries:
        asked = {wish.symbol: wish.fraction for wish in result.wishes if isinstance(wish, Target)}
        weights = dict(zip(LEGS, fit_of(result)["weights"], strict=True))
        sign = -np.sign(float(result.numbers["z"]))  # type: ignore[arg-type]
        assert asked == {leg: pytest.approx(sign * 0.5 * weights[leg]) for leg in LEGS}
        assert 1.5 < abs(float(result.numbers["z"])) < 5.0  # type: ignore[arg-type]
    for result in exits:
        assert {wish.symbol for wish in result.wishes if isinstance(wish, Target)} == set(LEGS)
        assert all(wish.fraction == 0.0 for wish in result.wishes if isinstance(wish, Target))


def test_legs_that_do_not_hold_together_are_never_entered() -> None:
    steps = run(logs_of(4, 640, 1.0), 599)

    assert fit_of(steps[0][0])["objections"] != []
    assert any(abs(float(result.numbers.get("z") or 0.0)) > 1.5 for result, _ in steps)
    assert all(result.wishes == () for result, _ in steps)


def test_a_fit_is_kept_while_something_is_held_and_made_anew_after() -> None:
    steps = run(logs_of(2, 720, 0.9), 599, refit_bars=1)

    fits = [fit_of(result)["weights"] for result, _ in steps]
    changed = [before != after for before, after in pairwise(fits)]
    held_then = [bool(held.fractions) for _, held in steps[1:]]
    assert any(held_then)
    assert changed == [not held for held in held_then]


def test_without_enough_bars_it_says_so_and_tries_again() -> None:
    config = KIND.config.validate(CONFIG)
    few = step(KIND, config, None, slot_at(logs_of(1, 20, 0.9), 19))
    later = step(KIND, config, few.state, slot_at(logs_of(1, 600, 0.9), 599))

    assert "common bars are too few" in few.log[0]
    assert few.state["fit"] is None
    assert later.state["fit"] is not None


def test_a_basket_has_three_legs_at_least() -> None:
    with pytest.raises(InputInvalid, match="at least 3 items"):
        KIND.config.validate({"symbols": ["AAA", "BBB"]})
    with pytest.raises(InputInvalid, match="AAA is there twice"):
        KIND.config.validate({"symbols": ["AAA", "BBB", "AAA"]})


def test_it_is_observed_only_and_shows_its_legs() -> None:
    logs = logs_of(1, 600, 0.9)
    ((result, _),) = run(logs, 599)
    config = KIND.config.validate(CONFIG)

    shown = draw(KIND, config, result.state, slot_at(logs, 599))

    assert KIND.trades == "basket"
    table = next(each for each in shown if isinstance(each, Table))
    chart = next(each for each in shown if isinstance(each, LineChart))
    assert [row[0] for row in table.rows] == list(LEGS)
    assert chart.lines[0].values[-1] == pytest.approx(result.numbers["z"])
    assert isinstance(draw(KIND, config, {}, slot_at(logs, 599))[0], Text)
