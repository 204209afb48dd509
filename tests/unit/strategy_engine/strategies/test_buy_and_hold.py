"""Buy and hold: bought once, in equal parts."""

from __future__ import annotations

import math
from typing import Any

import pytest

from src.services.strategy_engine.sdk import Metric, Table, Target
from src.services.strategy_engine.sdk.loader import Loader
from src.services.strategy_engine.sdk.slot import Held
from src.services.strategy_engine.sdk.step import draw
from tests.unit.strategy_engine.sdk.scene import slot_of, taken

KIND = Loader().catalogue().get("buy_and_hold")
CONFIG = {"symbols": ["KO", "PEP"], "fraction": 0.8}


def test_each_symbol_is_bought_when_it_has_a_price_and_kept() -> None:
    first = taken(KIND, CONFIG, slot_of({"KO": [50.0], "PEP": [math.nan]}))
    ko, both = Held({"KO": 0.4}), Held({"KO": 0.4, "PEP": 0.4})
    second = taken(KIND, CONFIG, slot_of({"KO": [60.0], "PEP": [100.0]}), first.state, ko)
    third = taken(KIND, CONFIG, slot_of({"KO": [55.0], "PEP": [150.0]}), second.state, both)

    assert first.wishes == (Target(symbol="KO", fraction=0.4, reason="BUY"),)
    assert second.wishes == (Target(symbol="PEP", fraction=0.4, reason="BUY"),)
    assert third.wishes == ()
    # KO is up by a tenth and PEP by a half, on 40 cents each.
    assert third.numbers["value"] == pytest.approx(1 + 0.4 * 0.1 + 0.4 * 0.5)


def test_what_it_did_not_get_it_asks_for_again() -> None:
    first = taken(KIND, CONFIG, slot_of({"KO": [50.0], "PEP": [math.nan]}))
    second = taken(KIND, CONFIG, slot_of({"KO": [60.0], "PEP": [math.nan]}), first.state)

    assert second.wishes == first.wishes
    assert second.state == {"bought": {"KO": 60.0}}


def test_it_shows_what_a_dollar_has_become() -> None:
    config = KIND.config.validate(CONFIG)
    state: dict[str, Any] = {"bought": {"KO": 50.0, "PEP": 100.0}}

    value, table = draw(KIND, config, state, slot_of({"KO": [55.0], "PEP": [150.0]}))
    unknown = draw(KIND, config, state, slot_of({"KO": [55.0], "PEP": [math.nan]}))[0]

    assert isinstance(value, Metric)
    assert isinstance(table, Table)
    assert isinstance(unknown, Metric)
    assert value.value == pytest.approx(1.24)
    assert [row[:3] for row in table.rows] == [("KO", 50.0, 55.0), ("PEP", 100.0, 150.0)]
    growths: list[Any] = [row[3] for row in table.rows]
    assert growths == pytest.approx([0.1, 0.5])
    assert unknown.value is None
