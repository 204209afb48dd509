from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from src.services.analytics.domain.staleness import Mode, Plan, StandingRows, plan
from src.shared.domain.bars import StoredBars
from tests.fakes.bar_series import DAY, made_up, part, restated

BARS = made_up(10)


def rows_of(bars: StoredBars, *, current: bool = True) -> StandingRows:
    """Lay out the rows that were made from bars."""
    count = len(bars)
    return StandingRows(bars.end, bars.recorded_at, np.full(count, current), np.arange(1000.0, 1000.0 + count))


def without(bars: StoredBars, place: int) -> StoredBars:
    return StoredBars(**{name: np.delete(column, place) for name, column in vars(bars).items()})


NOTHING = rows_of(part(BARS, slice(0)))


@pytest.mark.parametrize(
    ("bars", "rows", "expected"),
    [
        pytest.param(BARS, NOTHING, Plan(0, 10, None, None), id="nothing stands: all are written"),
        pytest.param(BARS, rows_of(BARS), Plan(0, 0, None, None), id="all stand: nothing is done"),
        pytest.param(BARS, rows_of(part(BARS, slice(7))), Plan(7, 10, None, None), id="new bars alone are written"),
        pytest.param(
            BARS, rows_of(without(BARS, 4)), Plan(4, 10, BARS.end[4], None), id="a bar came late: all after it too"
        ),
        pytest.param(
            restated(BARS, slice(6, 7)),
            rows_of(BARS),
            Plan(6, 10, BARS.end[6], None),
            id="a bar was restated: it and all after it",
        ),
        pytest.param(
            restated(BARS, slice(None)), rows_of(BARS), Plan(0, 10, BARS.end[0], None), id="another price basis: all"
        ),
        pytest.param(BARS, rows_of(BARS, current=False), Plan(0, 10, BARS.end[0], None), id="other parameters: all"),
        pytest.param(
            BARS, rows_of(part(BARS, slice(3, None))), Plan(0, 10, BARS.end[0], None), id="older bars came: all"
        ),
        pytest.param(
            without(BARS, 4), rows_of(BARS), Plan(4, 9, BARS.end[4], None), id="a bar is gone: its row, and all after"
        ),
        pytest.param(
            part(BARS, slice(9)), rows_of(BARS), Plan(9, 9, BARS.end[9], None), id="the last bar is gone: its row too"
        ),
        pytest.param(part(BARS, slice(0)), rows_of(BARS), Plan(0, 0, None, None), id="all bars are archived"),
        pytest.param(
            part(BARS, slice(3, None)), rows_of(BARS), Plan(0, 0, None, 1003.0), id="the head is archived: it stays"
        ),
        pytest.param(
            part(BARS, slice(3, None)),
            rows_of(part(BARS, slice(8))),
            Plan(5, 7, None, 1003.0),
            id="the head is archived: what is new goes on from it",
        ),
        pytest.param(
            part(restated(BARS, slice(None)), slice(3, None)),
            rows_of(BARS),
            Plan(0, 7, BARS.end[0], None),
            id="replaced by a series that begins later: the old head goes",
        ),
        pytest.param(
            part(BARS, slice(6, None)),
            rows_of(part(BARS, slice(3))),
            Plan(0, 4, None, None),
            id="nothing of what was worked out is stored any more: it stays, and the series begins anew",
        ),
    ],
)
def test_everything_from_the_first_missing_or_stale_row_on_is_written(
    bars: StoredBars, rows: StandingRows, expected: Plan
) -> None:
    assert plan(bars, rows) == expected


@pytest.mark.parametrize(
    ("mode", "rows", "first", "last", "expected"),
    [
        pytest.param("all", rows_of(BARS), None, None, Plan(0, 10, BARS.end[0], None), id="all from the first bar"),
        pytest.param("all", rows_of(BARS), 6, None, Plan(6, 10, BARS.end[6], None), id="all from a day on"),
        pytest.param("missing", NOTHING, 2, 5, Plan(2, 6, None, None), id="what is missing between two days"),
        pytest.param(
            "missing", rows_of(part(BARS, slice(2, 6))), 2, 5, Plan(0, 0, None, None), id="twice: nothing is missing"
        ),
        pytest.param("missing", rows_of(part(BARS, slice(7))), None, 6, Plan(0, 0, None, None), id="up to what is"),
        pytest.param(
            "all", rows_of(BARS), None, 3, Plan(0, 10, BARS.end[0], None), id="rows after the last day follow"
        ),
        pytest.param(
            "all", rows_of(part(BARS, slice(6))), None, 3, Plan(0, 6, BARS.end[0], None), id="… those that stand"
        ),
        pytest.param("all", NOTHING, 20, None, Plan(0, 0, None, None), id="from a day that has not come"),
    ],
)
def test_only_the_rows_of_the_asked_bars_are_looked_at(
    mode: Mode, rows: StandingRows, first: int | None, last: int | None, expected: Plan
) -> None:
    begin = None if first is None else BARS.end[0] + first * DAY
    end = None if last is None else BARS.end[last]

    assert plan(BARS, rows, mode, begin, end) == expected


def test_what_the_archive_took_is_never_worked_out_from_the_rest() -> None:
    rest = part(BARS, slice(3, None))

    assert plan(rest, rows_of(BARS), "all").is_idle


def test_a_row_counts_by_the_bar_it_was_made_from_and_not_by_when() -> None:
    older = replace(BARS, recorded_at=BARS.recorded_at - np.timedelta64(1, "us"))

    assert plan(older, rows_of(BARS)) == Plan(0, 10, BARS.end[0], None)
