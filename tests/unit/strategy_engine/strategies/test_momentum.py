"""Momentum: the sign of the past return, scaled by volatility, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from src.services.strategy_engine.sdk import LineChart, Table, Target
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.sdk.slot import Held
from src.services.strategy_engine.sdk.step import draw
from src.shared.domain.errors import InputInvalid
from tests.unit.strategy_engine.sdk.scene import slot_of, taken

KIND = Loader().catalogue().get("momentum")
SMALL = {"lookback_bars": 5, "volatility_bars": 5, "max_fraction": 1.0, "rebalance_bars": 3}
# Log prices 0, 1, 0, 1, 0, 2 %: returns +1, −1, +1, −1, +2 % with a mean of 0.4 %, and squared distances from it of
# 0.36 + 1.96 + 0.36 + 1.96 + 2.56 = 7.2 in all; over four that is 1.8, so sd is √1.8 %.
RISING = [100 * math.exp(each / 100) for each in (0, 1, 0, 1, 0, 2)]
FALLING = [100 * math.exp(-each / 100) for each in (0, 1, 0, 1, 0, 2)]
VOLATILITY = math.sqrt(1.8) / 100 * math.sqrt(252 * 7)


def test_a_rise_is_held_long_and_a_fall_short_in_proportion_to_calm() -> None:
    result = taken(KIND, {"symbols": ["KO", "PEP"], **SMALL}, slot_of({"KO": RISING, "PEP": FALLING}))

    size = 0.15 / VOLATILITY / 2
    asked = {wish.symbol: wish.fraction for wish in result.wishes if isinstance(wish, Target)}
    assert asked == pytest.approx({"KO": size, "PEP": -size})
    assert result.numbers["return KO"] == pytest.approx(0.02)
    assert result.numbers["volatility PEP"] == pytest.approx(VOLATILITY)


def fraction(closes: list[float], **more: Any) -> float | None:
    asked = taken(KIND, {"symbols": ["KO"], **SMALL, **more}, slot_of({"KO": closes})).wishes
    return asked[0].fraction if asked and isinstance(asked[0], Target) else None


def test_no_more_is_held_than_is_allowed() -> None:
    assert fraction(RISING, max_fraction=0.25, target_volatility=1.0) == 0.25


def test_without_short_sales_a_fall_is_not_held() -> None:
    assert fraction(FALLING, allow_short=False) == 0.0


def test_the_newest_bars_are_left_out_where_reversal_is_feared() -> None:
    # Without the newest bar the price has not moved since the lookback began.
    assert fraction(RISING, skip_bars=1) == 0.0


def test_what_never_moves_is_not_held() -> None:
    assert fraction([100.0] * 6) == 0.0


@pytest.mark.parametrize("closes", [RISING[1:], [math.nan, *RISING[1:]], [0.0, *RISING[1:]], [*RISING[:5], math.nan]])
def test_without_the_prices_that_it_compares_nothing_is_asked_for(closes: list[float]) -> None:
    assert fraction(closes) is None


def test_an_hour_without_a_trade_does_no_harm_and_many_do() -> None:
    logs = [0.01 * (i % 2) for i in range(20)] + [0.05]
    one, many = [100 * math.exp(each) for each in logs], [100 * math.exp(each) for each in logs]
    one[10] = math.nan
    many[8:11] = [math.nan] * 3
    bars = {"lookback_bars": 20, "volatility_bars": 20}
    # Of 19 returns that are left, 17 of ±1 %, one of 0 across the gap, and the last of +4 %.
    returns = np.diff(np.delete(logs, 10))

    assert fraction(one, **bars) == pytest.approx(0.15 / (np.std(returns, ddof=1) * math.sqrt(252 * 7)))
    assert fraction(many, **bars) is None


def test_targets_are_set_every_few_bars_only() -> None:
    state: Any = None
    asked = []
    for _ in range(7):
        result = taken(KIND, {"symbols": ["KO"], **SMALL}, slot_of({"KO": RISING}), state=state)
        state = result.state
        asked.append(len(result.wishes))

    assert asked == [1, 0, 0, 1, 0, 0, 1]


def test_what_is_skipped_is_less_than_what_is_looked_back_on() -> None:
    with pytest.raises(InputInvalid, match="skip_bars 5 must be below lookback_bars 5"):
        KIND.config.validate({"symbols": ["KO"], "lookback_bars": 5, "skip_bars": 5})


def test_it_shows_signal_and_prices() -> None:
    config = KIND.config.validate({"symbols": ["KO", "PEP"], **SMALL})
    slot = slot_of({"KO": RISING, "PEP": [math.nan] * 6})

    table, chart = draw(KIND, config, {}, slot, Held({"KO": 0.5}))

    assert isinstance(table, Table)
    assert isinstance(chart, LineChart)
    assert [row[0] for row in table.rows] == ["KO", "PEP"]
    numbers: list[Any] = list(table.rows[0][1:])
    assert numbers == pytest.approx([0.02, VOLATILITY, 0.15 / VOLATILITY / 2, 0.5])
    assert table.rows[1][1:] == (None, None, None, 0.0)
    assert chart.lines[0].values == tuple(RISING[1:])
    assert chart.lines[1].values == (None,) * 5
