"""`tradewinds indicators`, typed, on a real PostgreSQL."""

from __future__ import annotations

import json

import numpy as np
import pytest

from src.services.analytics.domain.indicators import COLUMNS, IndicatorParameters, indicator_set, values
from src.shared.domain.bars import DAILY, HOURLY, BarKind
from tests.fakes.bar_series import made_up
from tests.fakes.desk import Installation
from tests.fakes.stored_market import store_bars

DAYS, HOURS = BarKind(DAILY, "polygon", "split"), BarKind(HOURLY, "alpaca", "split")


def test_the_newest_values_of_each_series_are_shown_and_empty_where_there_are_none(desk: Installation) -> None:
    bars = made_up(250)
    store_bars(desk.services.engine, DAYS, {"SPY": bars, "QQQ": made_up(5)})
    store_bars(desk.services.engine, HOURS, {"SPY": made_up(30)})
    for batch in desk.services.indicators.batches():
        desk.services.indicators.compute(batch)
    expected = values(indicator_set(IndicatorParameters(), DAILY), bars)

    shown = desk.tradewinds("indicators", "show", "SPY")
    said = json.loads(desk.tradewinds("indicators", "show", "SPY", "--json").out)

    assert shown.code == 0
    assert "1Day of polygon, split" in shown.out and "1Hour of alpaca, split" in shown.out
    [rsi] = [line for line in shown.out.splitlines() if " rsi " in line]
    assert f"{expected['rsi'][-1]:,.6g}" in rsi
    assert [each["kind"]["timeframe"] for each in said] == [DAILY, HOURLY]
    assert said[0]["values"] == {name: expected[name][-1] for name in COLUMNS}
    assert said[1]["values"]["sma_long"] is None and np.isfinite(said[1]["values"]["rsi"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["NOPE"], "no indicators of NOPE are stored: `tradewinds run indicators-missing` makes them."),
        (["spy"], "'spy' is not a symbol"),
        ([], "Missing argument 'symbol'"),
    ],
)
def test_a_mistake_is_one_line(desk: Installation, words: list[str], said: str) -> None:
    ended = desk.tradewinds("indicators", "show", *words)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err and ended.err.count("\n") == 1
