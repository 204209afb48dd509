from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config.settings import IndicatorSettings
from src.services.analytics.domain.indicators import (
    COLUMNS,
    Indicator,
    IndicatorParameters,
    IndicatorSet,
    indicator_set,
    values,
)
from src.shared.domain.bars import DAILY, HOURLY, Floats, StoredBars
from src.shared.domain.errors import InputInvalid
from src.shared.infra.database.tables.analytics import INDICATOR_COLUMNS
from tests.fakes.bar_series import made_up, part

USUAL = indicator_set(IndicatorParameters(), DAILY)

# ChartSchool of StockCharts.com, "Moving Averages - Simple and Exponential", the example with ten days of Intel.
INTEL = [
    22.2734, 22.1940, 22.0847, 22.1741, 22.1840, 22.1344, 22.2337, 22.4323, 22.2436, 22.2933, 22.1542, 22.3926,
    22.3816, 22.6109, 23.3558, 24.0519, 23.7530, 23.8324, 23.9516, 23.6338, 23.8225, 23.8722, 23.6537, 23.1870,
    23.0976, 23.3260, 22.6805, 23.0976, 22.4025, 22.1725,
]  # fmt: skip
INTEL_SMA = [
    22.22, 22.21, 22.23, 22.26, 22.31, 22.42, 22.61, 22.77, 22.91, 23.08, 23.21, 23.38, 23.53, 23.65, 23.71, 23.69,
    23.61, 23.51, 23.43, 23.28, 23.13,
]  # fmt: skip
INTEL_EMA = [
    22.22, 22.21, 22.24, 22.27, 22.33, 22.52, 22.80, 22.97, 23.13, 23.28, 23.34, 23.43, 23.51, 23.54, 23.47, 23.40,
    23.39, 23.26, 23.23, 23.08, 22.92,
]  # fmt: skip

# The same school, "Relative Strength Index (RSI)", fourteen days of QQQQ.
QQQQ = [
    44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328,
    45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122, 46.2521, 45.7137, 46.4515,
    45.7835, 45.3548, 44.0288, 44.1783, 44.2181, 44.5672, 43.4205, 42.6628, 43.1314,
]  # fmt: skip
QQQQ_RSI = [
    70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99, 41.46, 41.87, 45.46,
    37.30, 33.08, 37.77,
]  # fmt: skip


def closes(prices: list[float]) -> StoredBars:
    column = np.array(prices)
    return replace(made_up(len(prices)), open=column, high=column, low=column, close=column)


def of(indicators: IndicatorSet, column: str) -> Indicator:
    return next(each for each in indicators.indicators if column in each.outputs)


def all_of(bars: StoredBars, **parameters: Any) -> dict[str, Floats]:
    return values(indicator_set(IndicatorParameters(**parameters), DAILY), bars)


def test_a_published_example_of_simple_and_exponential_averages_comes_out() -> None:
    found = all_of(closes(INTEL), sma_short_bars=10, ema_short_bars=10)

    assert np.isnan(found["sma_short"][:9]).all() and np.isnan(found["ema_short"][:9]).all()
    assert found["sma_short"][9:] == pytest.approx(INTEL_SMA, abs=0.0051)
    assert found["ema_short"][9:] == pytest.approx(INTEL_EMA, abs=0.0051)


def test_a_published_example_of_relative_strength_comes_out() -> None:
    found = all_of(closes(QQQQ), rsi_bars=14)["rsi"]

    assert np.isnan(found[:14]).all()
    assert found[14:] == pytest.approx(QQQQ_RSI, abs=0.006)


def test_every_column_is_what_ta_lib_gives_for_the_whole_series() -> None:
    bars = made_up(400)
    high, low, close, volume = bars.high, bars.low, bars.close, bars.volume
    returns = np.concatenate([[np.nan], np.diff(np.log(close))])
    macd, bands = talib.MACD(close, 12, 26, 9), talib.BBANDS(close, 20, 2.0, 2.0)
    expected = {
        "sma_short": talib.SMA(close, 20),
        "sma_medium": talib.SMA(close, 50),
        "sma_long": talib.SMA(close, 200),
        "ema_short": talib.EMA(close, 12),
        "ema_long": talib.EMA(close, 26),
        "rsi": talib.RSI(close, 14),
        **dict(zip(("macd", "macd_signal", "macd_histogram"), macd, strict=True)),
        **dict(zip(("bollinger_upper", "bollinger_middle", "bollinger_lower"), bands, strict=True)),
        "atr": talib.ATR(high, low, close, 14),
        "obv": talib.OBV(close, volume),
        "simple_return": np.concatenate([[np.nan], close[1:] / close[:-1] - 1]),
        "log_return": returns,
        "realised_volatility": np.array(
            [np.nan] * 20 + [returns[i - 19 : i + 1].std() * np.sqrt(252) for i in range(20, 400)]
        ),
    }

    found = values(USUAL, bars)

    assert tuple(found) == COLUMNS == INDICATOR_COLUMNS
    for name, column in expected.items():
        np.testing.assert_allclose(found[name], column, rtol=1e-9, atol=1e-12, err_msg=name)


def test_an_hourly_volatility_is_of_a_year_of_hourly_bars() -> None:
    bars = made_up(100)
    hourly = values(indicator_set(IndicatorParameters(), HOURLY), bars)["realised_volatility"]

    np.testing.assert_allclose(hourly[20:], values(USUAL, bars)["realised_volatility"][20:] * np.sqrt(7), rtol=1e-9)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_begins_after_its_warm_up_and_has_no_hole(column: str) -> None:
    found = values(USUAL, made_up(300))[column]
    warm_up = of(USUAL, column).warm_up_bars

    assert np.isnan(found[:warm_up]).all()
    assert np.isfinite(found[warm_up:]).all()


@pytest.mark.parametrize("count", [1, 2, 14, 33])
def test_a_short_series_has_fewer_values_and_no_error(count: int) -> None:
    found = values(USUAL, made_up(count))

    for column in COLUMNS:
        assert np.isfinite(found[column]).sum() == max(0, count - of(USUAL, column).warm_up_bars), column


def test_prices_that_stand_still_give_finite_values() -> None:
    found = values(USUAL, closes([50.0] * 250))

    assert all(np.isfinite(found[name][200:]).all() for name in COLUMNS)
    assert (found["realised_volatility"][20:] == 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 299))
def test_no_value_depends_on_a_later_bar(seed: int, cut: int) -> None:
    bars = made_up(300, seed)

    whole, first_part = values(USUAL, bars), values(USUAL, part(bars, slice(cut)))

    for name in COLUMNS:
        np.testing.assert_array_equal(first_part[name], whole[name][:cut], err_msg=name)


@pytest.mark.parametrize("archived", [1, 50, 399])
def test_the_rest_of_a_longer_series_has_its_values_or_none(archived: int) -> None:
    bars = made_up(1200)
    whole = values(USUAL, bars)

    rest = values(USUAL, part(bars, slice(archived, None)), obv_at_first=float(whole["obv"][archived]))

    for name in COLUMNS:
        given_here = np.isfinite(rest[name])
        assert given_here[of(USUAL, name).settling_bars :].all(), name
        expected = whole[name][archived:][given_here]
        # MACD is a difference of prices: it is as exact as they are, also where it is near nought.
        np.testing.assert_allclose(rest[name][given_here], expected, rtol=1e-9, atol=1e-9 * 80, err_msg=name)


def test_a_recursive_average_of_a_shortened_series_would_be_wrong_before_it_has_settled() -> None:
    bars = made_up(1200)
    early = of(USUAL, "ema_long").settling_bars // 4
    shortened = values(USUAL, part(bars, slice(100, None)))["ema_long"][early]

    assert shortened != pytest.approx(values(USUAL, bars)["ema_long"][100 + early], rel=1e-9)


@pytest.mark.parametrize("name", [field.name for field in fields(IndicatorParameters)])
def test_another_parameter_makes_another_set(name: str) -> None:
    other = replace(IndicatorParameters(), **{name: getattr(IndicatorParameters(), name) + 1})

    assert indicator_set(other, DAILY).set_id != USUAL.set_id


def test_a_set_has_the_same_id_in_every_process_and_another_for_each_timeframe() -> None:
    assert indicator_set(IndicatorParameters(), DAILY).set_id == USUAL.set_id
    assert indicator_set(IndicatorParameters(), HOURLY).set_id != USUAL.set_id
    assert len(USUAL.set_id) == 12


def test_parameters_and_settings_are_the_same_with_the_same_values() -> None:
    chosen = IndicatorSettings(_env_file=None).model_dump()
    del chosen["batch_symbols"]

    assert IndicatorParameters(**chosen) == IndicatorParameters()


def test_a_timeframe_without_indicators_is_refused_in_one_line() -> None:
    with pytest.raises(InputInvalid, match=r"'5Min' has no indicators; name one of 1Day, 1Hour"):
        indicator_set(IndicatorParameters(), "5Min")
