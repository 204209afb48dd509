"""On which basis a series stands: what is another one, what is a restated bar, what is only a rounded price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.data_ingestion.domain.basis import adjusted_for, common_factor, replacement
from src.shared.domain.bars import BarColumns
from src.shared.domain.corporate_actions import CorporateActionKind

HOUR = np.timedelta64(1, "h")


def bars(count: int = 40, price: float = 100.0) -> BarColumns:
    end = np.datetime64("2026-03-02T15:30", "us") + HOUR * np.arange(1, count + 1)
    close = price * (1 + 0.02 * np.sin(np.arange(count)))
    return BarColumns("SPY", end - HOUR, end, close, close * 1.01, close * 0.99, close, np.full(count, 1000.0))


def times(columns: BarColumns, factor: float, *, only: slice = slice(None)) -> BarColumns:
    scaled = {name: getattr(columns, name).copy() for name in ("open", "high", "low", "close")}
    for column in scaled.values():
        column[only] *= factor
    return replace(columns, **scaled)


@pytest.mark.parametrize("factor", [0.25, 4.0, 1 / 3, 0.997, 1.5])
def test_prices_that_all_differ_by_one_factor_are_on_another_basis(factor: float) -> None:
    assert common_factor(bars(5), times(bars(5), factor)) == pytest.approx(factor)


def test_the_same_prices_are_on_the_same_basis() -> None:
    assert common_factor(bars(), bars()) is None
    assert common_factor(bars(), bars().take(slice(0, 0))) is None


@given(st.floats(3, 5000), st.integers(1, 5))
def test_prices_that_were_rounded_are_on_the_same_basis(price: float, count: int) -> None:
    exact = bars(count, price)
    names = ("open", "high", "low", "close")
    rounded = replace(exact, **{name: np.round(getattr(exact, name), 2) for name in names})

    assert common_factor(exact, rounded) is None


def test_one_bar_that_was_restated_among_others_is_no_other_basis() -> None:
    assert common_factor(bars(5), times(bars(5), 1.3, only=slice(4, 5))) is None


def test_a_whole_series_on_another_basis_takes_the_place_of_the_stored_one() -> None:
    stored = bars()
    new = times(bars(45), 0.5)

    found = replacement(stored, new)

    assert found is not None
    assert found.factor == pytest.approx(0.5)
    assert (found.new, found.unchanged, len(found.to_write)) == (5, 0, 45)
    assert list(found.superseded) == list(stored.end)


def test_a_stored_bar_that_the_vendor_has_no_more_goes_with_the_old_basis() -> None:
    new = times(bars(), 0.5).take(slice(2, None))

    found = replacement(bars(), new)

    assert found is not None
    assert list(found.superseded) == list(bars().end)


def test_a_series_whose_bars_differ_in_part_was_restated_and_keeps_what_the_vendor_has_no_more() -> None:
    new = times(bars(), 1.1, only=slice(5, 8)).take(slice(1, None))

    found = replacement(bars(), new)

    assert found is not None
    assert found.factor is None
    assert list(found.superseded) == list(bars().end[5:8])
    assert (found.new, found.unchanged, len(found.to_write)) == (0, 36, 3)


def test_an_adjustment_that_came_late_is_another_basis_up_to_its_day() -> None:
    found = replacement(bars(), times(bars(), 0.5, only=slice(0, 30)))

    assert found is not None
    assert found.factor == pytest.approx(0.5)
    assert list(found.superseded) == list(bars().end[:30])


def test_a_series_that_is_too_short_takes_nobodys_place() -> None:
    assert replacement(bars(), times(bars(), 0.5).take(slice(5, None))) is None


def test_nothing_is_stored_yet() -> None:
    found = replacement(bars(0), bars())

    assert found is not None
    assert (found.factor, found.new, len(found.superseded)) == (None, 40, 0)


def test_prices_are_adjusted_for_what_their_adjustment_says() -> None:
    split, dividend = CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND

    assert [adjusted_for(name) for name in ("raw", "split", "dividend", "all")] == [
        set(), {split}, {dividend}, {split, dividend},
    ]  # fmt: skip
