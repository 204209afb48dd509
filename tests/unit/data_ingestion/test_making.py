"""Half hours become the session's hours, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.data_ingestion.domain.gate import Rejection
from src.services.data_ingestion.domain.grid import HALF_HOURS, Grid, Span
from src.services.data_ingestion.domain.making import make_bars
from src.shared.domain.bars import Bar
from src.shared.domain.sessions import Session, TradingCalendar
from src.shared.domain.vendor_data import VendorBar, VendorBars
from tests.fakes.bar_columns import rows_of

CALENDAR = TradingCalendar()
HALF = timedelta(minutes=30)


@dataclass(frozen=True)
class Hours:
    """What was made of some rows, as values that can be compared."""

    bars: tuple[Bar, ...]
    rejected: tuple[Rejection, ...]


def to_hours(symbol: str, rows: Sequence[VendorBar], spans: Sequence[Span]) -> Hours:
    made = make_bars(VendorBars.of(symbol, rows), Grid.of(spans), HALF_HOURS)
    return Hours(tuple(rows_of(made.bars)), made.rejected)


def session(day: str) -> Session:
    moment = date.fromisoformat(day)
    return CALENDAR.sessions(moment, moment)[0]


def half(start: datetime, price: float = 100.0) -> VendorBar:
    return VendorBar("SPY", start, price, price + 1, price - 1, price + 0.5, 10.0)


def vendor_day(of: Session) -> list[VendorBar]:
    count = int((of.close - of.open) / HALF) + 4
    return [half(of.open - 2 * HALF + i * HALF, 100.0 + i) for i in range(count)]


@pytest.mark.parametrize(
    ("day", "first_open", "bars"),
    [
        ("2026-03-06", "14:30", 7),
        ("2026-03-09", "13:30", 7),
        ("2026-10-30", "13:30", 7),
        ("2026-11-02", "14:30", 7),
        ("2026-11-27", "14:30", 4),
    ],
)
def test_a_day_gives_the_hours_of_its_session_whatever_the_season(day: str, first_open: str, bars: int) -> None:
    of = session(day)
    spans = list(of.bar_spans())

    hours = to_hours("SPY", vendor_day(of), spans)

    assert hours.rejected == ()
    assert [(b.start, b.end) for b in hours.bars] == spans
    assert len(hours.bars) == bars
    assert f"{hours.bars[0].start:%H:%M}" == first_open


def test_an_hour_is_the_open_of_the_first_half_and_the_close_of_the_second() -> None:
    of = session("2026-03-09")
    rows = [VendorBar("SPY", of.open, 10, 12, 9, 11, 5), VendorBar("SPY", of.open + HALF, 11, 11.5, 8, 8.5, 7)]

    (made,) = to_hours("SPY", rows, [(of.open, of.open + 2 * HALF)]).bars

    assert made == Bar("SPY", of.open, of.open + 2 * HALF, 10, 12, 8, 8.5, 12)


@pytest.mark.parametrize(("kept", "reason"), [(1, "first half hour is missing"), (0, "second half hour is missing")])
def test_an_hour_that_lacks_a_half_is_rejected(kept: int, reason: str) -> None:
    of = session("2026-03-09")
    rows = [half(of.open + kept * HALF)]

    hours = to_hours("SPY", rows, list(of.bar_spans()))

    assert hours.bars == ()
    assert [reason in item.reason for item in hours.rejected] == [True]


def test_an_hour_without_any_row_is_missing_not_rejected() -> None:
    hours = to_hours("SPY", [], list(session("2026-03-09").bar_spans()))

    assert (hours.bars, hours.rejected) == ((), ())


def test_the_same_row_twice_is_noted_and_the_hour_is_good() -> None:
    of = session("2026-03-09")
    rows = [half(of.open), half(of.open), half(of.open + HALF)]

    hours = to_hours("SPY", rows, list(of.bar_spans())[:1])

    assert len(hours.bars) == 1
    assert "twice" in hours.rejected[0].reason


def test_two_rows_for_one_half_that_differ_spoil_the_hour() -> None:
    of = session("2026-03-09")
    rows = [half(of.open), half(of.open, 101.0), half(of.open + HALF)]

    hours = to_hours("SPY", rows, list(of.bar_spans())[:1])

    assert hours.bars == ()
    assert "differ" in hours.rejected[0].reason


def test_a_row_that_does_not_start_on_the_half_hour_is_misaligned() -> None:
    of = session("2026-03-09")

    hours = to_hours("SPY", [half(of.open + timedelta(minutes=15))], list(of.bar_spans()))

    assert hours.bars == ()
    assert "misaligned" in hours.rejected[0].reason


@pytest.mark.parametrize("position", [0, 1])
def test_a_half_with_a_bad_number_is_not_hidden_by_the_other(position: int) -> None:
    of = session("2026-03-09")
    rows = [half(of.open), half(of.open + HALF)]
    rows[position] = VendorBar("SPY", rows[position].start, 100, nan, 99, 100, 1)

    hours = to_hours("SPY", rows, list(of.bar_spans())[:1])

    assert hours.bars == ()
    assert "not finite" in hours.rejected[0].reason


@given(lost=st.sets(st.integers(0, 16)), day=st.sampled_from(["2026-03-09", "2026-11-27"]))
def test_a_bar_comes_only_from_rows_that_are_all_there(lost: set[int], day: str) -> None:
    of = session(day)
    rows = [row for i, row in enumerate(vendor_day(of)) if i not in lost]
    there = {row.start for row in rows}

    hours = to_hours("SPY", rows, list(of.bar_spans()))

    for start, end in of.bar_spans():
        whole = all(start + i * HALF in there for i in range(int((end - start) / HALF)))
        assert any(b.end == end for b in hours.bars) == whole
