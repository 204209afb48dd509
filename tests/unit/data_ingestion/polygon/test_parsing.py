"""Whatever Polygon.io writes is a value that can be stored, or is set aside with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.services.data_ingestion.adapters.polygon import parsing
from src.services.data_ingestion.domain.reference import Found
from src.shared.domain.errors import Transient

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["AAPL", "2025-03-03", "2025-03-03T00:00:00Z", "CD", "usd", "0.37", "1e400", "NaN", "-0", "A\0"]),
    st.lists(st.integers(), max_size=2),
)
NAMES: dict[Callable[[Any], Any], tuple[str, ...]] = {
    parsing.listing: ("ticker", "name", "primary_exchange", "active", "delisted_utc"),
    parsing.split: ("ticker", "execution_date", "split_from", "split_to"),
    parsing.dividend: (
        "ticker",
        "ex_dividend_date",
        "cash_amount",
        "currency",
        "dividend_type",
        "declaration_date",
        "frequency",
    ),
}
SPLIT = {"ticker": "AAPL", "execution_date": "2025-03-03", "split_from": 1, "split_to": 3}


@pytest.mark.parametrize("read", NAMES, ids=lambda read: read.__name__)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_row_is_a_value_or_set_aside(read: Callable[[Any], Any], data: st.DataObject) -> None:
    row = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[read], SCALARS)))
    found: Found[Any] = Found()

    parsing.read_rows([row], read, found)

    assert len(found.rows) + len(found.rejected) == 1
    assert all(each.reason for each in found.rejected)
    for value in found.rows:
        for number in (getattr(value, name, Decimal(1)) for name in ("old_shares", "new_shares", "amount")):
            assert Decimal("1e-9") <= number < Decimal("1e11")
            assert number == round(number, 9)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys("tohlcv", SCALARS)), max_size=4))
def test_any_bars_are_columns_or_an_error(rows: list[dict[str, Any]]) -> None:
    try:
        page = parsing.bars("AAPL", rows)
    except Transient:
        return

    assert len(page) == len(rows)
    assert all(column.dtype == "float64" for column in (page.open, page.high, page.low, page.close, page.volume))


@given(
    answer=st.one_of(SCALARS, st.fixed_dictionaries({}, optional=dict.fromkeys(["serverTime", "market"], SCALARS)))
)
def test_any_market_status_is_read_or_an_error(answer: Any) -> None:
    try:
        parsing.market_status(answer)
    except Transient:
        return


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"split_to": "1e-12"}, "next to nothing"),
        ({"split_to": 1e300}, "sane"),
        ({"split_to": float("nan")}, "sane"),
        ({"split_from": -1}, "sane"),
        ({"split_from": None}, "no number"),
        ({"ticker": "BRK/A"}, "not a symbol"),
        ({"execution_date": "2025-02-30"}, "no day"),
    ],
)
def test_a_split_that_cannot_be_is_set_aside(change: dict[str, Any], why: str) -> None:
    found: Found[Any] = Found()

    parsing.read_rows([SPLIT, SPLIT | change], parsing.split, found)

    assert len(found.rows) == 1
    assert why in found.rejected[0].reason


def test_a_time_beyond_all_times_is_an_error() -> None:
    with pytest.raises(Transient, match="without a time"):
        parsing.bars("AAPL", [json.loads('{"t": 1e30}'), {"t": 10**30}])
