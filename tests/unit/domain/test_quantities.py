from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from src.shared.domain.quantities import plain


@pytest.mark.parametrize(
    ("quantity", "written"),
    [
        ("40", "40"),
        ("4E+1", "40"),
        ("-1200.000000", "-1200"),
        ("2.50", "2.5"),
        ("1E-7", "0.0000001"),
        ("0.000000", "0"),
        ("-0", "0"),
    ],
)
def test_a_quantity_is_written_the_way_people_write_it(quantity: str, written: str) -> None:
    assert plain(Decimal(quantity)) == written


@given(some.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=9))
def test_a_written_quantity_is_the_same_number_without_exponent(quantity: Decimal) -> None:
    assert Decimal(plain(quantity)) == quantity
    assert "E" not in plain(quantity)
