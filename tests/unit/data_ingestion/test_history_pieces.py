"""Which windows a long load asks for, and in which pieces it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.data_ingestion.domain.grid import HALF_HOURS, Grid, make_grid, parts_of
from src.services.data_ingestion.domain.history import Window, done_spans, judge_piece, pieces, wanted_windows
from src.shared.domain.bars import DAILY, HOURLY, BarColumns, Series, as_datetime
from src.shared.domain.sessions import TradingCalendar
from tests.fakes.bar_columns import rows_of
from tests.fakes.bar_source import FakeBarSource

CALENDAR = TradingCalendar()
START, END = datetime(2025, 10, 1, tzinfo=UTC), datetime(2026, 2, 10, tzinfo=UTC)
SERIES = Series("SPY", HOURLY, "alpaca", "split")
GRID = make_grid(CALENDAR, HOURLY, START, END)
SOURCE = FakeBarSource()
SOURCE.fill("SPY", START, END)


def pages(size: int, rows_at_once: int = 1) -> list[BarColumns]:
    SOURCE.page = size
    window = Window(SERIES, GRID)
    rows = SOURCE.history("SPY", window.start, window.end, HALF_HOURS, "split")
    return [
        judge_piece(piece, window, HALF_HOURS, END, 10.0).accepted for piece in pieces(rows, window, rows_at_once)
    ]


def test_what_comes_in_one_page_is_stored_at_once() -> None:
    assert [len(piece) for piece in pages(100_000)] == [len(GRID)]


def test_pages_are_put_together_until_enough_rows_are_held() -> None:
    assert [len(piece) for piece in pages(60, rows_at_once=100_000)] == [len(GRID)]
    assert len(pages(60, rows_at_once=600)) < len(pages(60))


def test_pieces_end_with_months_and_hold_every_bar_once() -> None:
    found = pages(60)

    assert len(found) > 3
    assert np.array_equal(np.concatenate([piece.end for piece in found]), GRID.end)
    months = [set(piece.end.astype("datetime64[M]").tolist()) for piece in found]
    assert all(not (one & other) for one, other in pairwise(months))


@settings(max_examples=25, deadline=None)
@given(size=st.integers(10, 400))
def test_bars_are_the_same_whatever_the_pages(size: int) -> None:
    assert rows_of(BarColumns.joined("SPY", pages(size))) == rows_of(BarColumns.joined("SPY", pages(100_000)))


def test_no_rows_are_one_piece_in_which_everything_is_missing() -> None:
    window = Window(SERIES, GRID)
    (piece,) = pieces(iter(()), window, 1)

    brought = judge_piece(piece, window, HALF_HOURS, END, 10.0)

    assert (len(brought.accepted), len(brought.missing), brought.state) == (0, len(GRID), "partial")


def test_what_is_stored_or_was_asked_for_is_done_but_late_bars_are_asked_for_again() -> None:
    recent_from = as_datetime(GRID.start[-14])
    asked = [(as_datetime(GRID.start[0]), as_datetime(GRID.end[-1]))]

    done = done_spans(GRID, GRID.end[[-3]], asked, recent_from)

    assert done[:-14].all()
    assert np.flatnonzero(done[-14:]).tolist() == [11]


def test_windows_part_where_more_than_a_month_is_done() -> None:
    done = np.ones(len(GRID), dtype=bool)
    done[[0, 5, -1]] = False

    windows = wanted_windows(SERIES, GRID, done)

    assert [(each.start, each.end) for each in windows] == [
        (as_datetime(GRID.start[0]), as_datetime(GRID.end[5])),
        (as_datetime(GRID.start[-1]), as_datetime(GRID.end[-1])),
    ]
    assert wanted_windows(SERIES, GRID, np.ones(len(GRID), dtype=bool)) == []


def test_a_days_row_starts_anywhere_in_its_new_york_day_in_summer_and_in_winter() -> None:
    grid = make_grid(CALENDAR, DAILY, datetime(2025, 10, 30, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC))
    parts = parts_of(grid, DAILY)

    begins = [as_datetime(begin) for begin in parts.begin]
    # Daylight saving ends on 2 November.
    assert begins[0] == datetime(2025, 10, 30, 4, tzinfo=UTC)
    assert begins[-1] == datetime(2025, 11, 28, 5, tzinfo=UTC)
    assert {
        as_datetime(until) - as_datetime(begin) for begin, until in zip(parts.begin, parts.until, strict=True)
    } == {timedelta(days=1)}


@given(st.datetimes(datetime(2025, 10, 20), datetime(2025, 12, 10)), st.integers(0, 60 * 24 * 40))  # noqa: DTZ001
def test_the_grid_of_a_window_is_what_the_calendar_says(start: datetime, minutes: int) -> None:
    start = start.replace(tzinfo=UTC)
    end = start + timedelta(minutes=minutes)

    hours, days = make_grid(CALENDAR, HOURLY, start, end), make_grid(CALENDAR, DAILY, start, end)

    assert spans_of(hours) == CALENDAR.spans_between(start, end)
    near = CALENDAR.sessions(start.date(), end.date())
    assert spans_of(days) == [(each.open, each.close) for each in near if each.open >= start and each.close <= end]


def spans_of(grid: Grid) -> list[tuple[datetime, datetime]]:
    return [(as_datetime(start), as_datetime(end)) for start, end in zip(grid.start, grid.end, strict=True)]


def test_an_hour_of_a_vendor_that_starts_with_the_session_is_one_row() -> None:
    parts = parts_of(GRID, HOURLY)

    assert np.array_equal(parts.begin, GRID.start)
    assert np.array_equal(parts.bar, np.arange(len(GRID)))
