"""Which bars a study takes, when they are too old, and what a holding comes to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from src.services.strategy_engine.domain.evaluation import UnfinishedTrade
from src.services.strategy_engine.domain.study import Purse, bar_ends, study_grid, why_not_fresh
from src.services.strategy_engine.domain.template import parse_template
from src.shared.domain.bars import CloseSeries
from src.shared.domain.errors import InputInvalid
from src.shared.domain.pairs import Direction, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from tests.unit.strategy_engine.builders import make_pair

CALENDAR = TradingCalendar()
FULL, HALF_DAY = date(2025, 11, 26), date(2025, 11, 28)


@pytest.mark.parametrize(
    ("day", "bar_length", "ends"),
    [
        (FULL, "1Hour", ["15:30", "16:30", "17:30", "18:30", "19:30", "20:30", "21:00"]),
        (FULL, "2Hour", ["16:30", "18:30", "20:30", "21:00"]),
        (FULL, "3Hour", ["17:30", "20:30", "21:00"]),
        (FULL, "1Day", ["21:00"]),
        (HALF_DAY, "3Hour", ["17:30", "18:00"]),
        (HALF_DAY, "1Day", ["18:00"]),
    ],
)
def test_longer_bars_count_from_the_open_and_end_with_the_session(
    day: date, bar_length: str, ends: list[str]
) -> None:
    (session,) = CALENDAR.sessions(day, day)

    assert [f"{end:%H:%M}" for end in bar_ends(session, bar_length)] == ends


@pytest.mark.parametrize("bar_length", ["1Hour", "2Hour", "1Day"])
@pytest.mark.parametrize(("records", "before"), [(1, 0), (5, 3), (300, 40)])
def test_the_grid_holds_the_newest_finished_bars_and_those_that_lead_up_to_them(
    bar_length: str, records: int, before: int
) -> None:
    until = datetime(2025, 12, 1, 17, 0, tzinfo=UTC)

    grid = study_grid(CALENDAR, bar_length, until, records, None, before)

    assert grid is not None
    sessions = CALENDAR.sessions(date(2023, 1, 1), until.date())
    every = [end for session in sessions for end in bar_ends(session, bar_length) if end <= until]
    assert list(grid.ends) == every[-records - before :]
    assert list(grid.decided) == every[-records:]
    assert grid.first_start < grid.ends[0]


def test_no_bar_before_the_day_given_is_decided_about() -> None:
    until = datetime(2025, 12, 1, 17, 0, tzinfo=UTC)

    grid = study_grid(CALENDAR, "1Hour", until, 500, FULL, 2)
    nothing = study_grid(CALENDAR, "1Hour", until, 500, date(2025, 12, 2), 2)

    assert grid is not None
    assert grid.decided[0] == datetime(2025, 11, 26, 15, 30, tzinfo=UTC)
    assert grid.ends[:2] == (datetime(2025, 11, 25, 20, 30, tzinfo=UTC), datetime(2025, 11, 25, 21, 0, tzinfo=UTC))
    assert nothing is None


END = datetime(2025, 12, 1, 16, 30, tzinfo=UTC)
HOUR, BUFFER = timedelta(hours=1), timedelta(seconds=120)


@pytest.mark.parametrize(
    ("expected", "age", "last", "words"),
    [
        (END, 120, 5.0, None),
        (END, 120.5, 5.0, "120 s ago; more than 120 s"),
        (END + HOUR, 3605, 5.0, "STALE_BAR: the newest bar ended 2025-12-01 16:30Z, 3605 s ago"),
        (END, 5, np.nan, "STALE_BAR: no bar of B"),
    ],
)
def test_a_bar_is_fresh_for_the_buffer_after_its_end(
    expected: datetime, age: float, last: float, words: str | None
) -> None:
    series = CloseSeries(("A", "B"), (END - HOUR, END), np.array([[1.0, 2.0], [1.0, last]]))

    found = why_not_fresh(series, ("A", "B"), expected, END + timedelta(seconds=age), BUFFER)

    assert found is None if words is None else words in (found or "")


def test_a_dollar_grows_with_what_was_held_and_a_missing_bar_moves_nothing() -> None:
    purse = Purse()

    for closes in ({"A": 100.0, "B": 50.0}, {"A": 110.0, "B": 50.0}, {"B": 40.0}, {"A": 99.0, "B": 40.0}):
        purse.move(closes, {"A": 0.5, "B": -0.25}, {}, {})

    assert purse.value == pytest.approx((1 + 0.5 * 0.1) * (1 + 0.25 * 0.2) * (1 - 0.5 * 0.1))


def test_a_trade_of_a_pair_counts_by_its_gross() -> None:
    pair = make_pair("A", "B", beta=1.5)
    trade = UnfinishedTrade(Direction.SHORT_SPREAD, PairTradeState.OPEN, END)
    purse = Purse()

    purse.move({"A": 100.0, "B": 50.0}, {}, {pair.id: trade}, {pair.id: pair})
    purse.move({"A": 102.0, "B": 49.0}, {}, {pair.id: trade}, {pair.id: pair})

    assert purse.value == pytest.approx(1 - (0.02 + 1.5 * 0.02) / 2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[meta", "t.toml: it is not TOML: "),
        ('[strategy]\ntype = "pairs"', "t.toml: [meta] is missing"),
        ('[meta]\nstudy = "A b"\n[strategy]\ntype = "pairs"', "t.toml: [meta] study: string should match pattern"),
        ('[meta]\nstudy = "a"\n[strategy]', "t.toml: [strategy] type is missing"),
        (
            '[meta]\nstudy = "a"\n[loader]\nstart = 2025-02-01\nend = 2025-01-01\n[strategy]\ntype = "pairs"',
            "t.toml: [loader] start 2025-02-01 is after end 2025-01-01",
        ),
        (
            '[meta]\nstudy = "a"\n[loader]\nmax_buffer_seconds = inf\n[strategy]\ntype = "pairs"',
            "t.toml: [loader] max_buffer_seconds",
        ),
        (
            '[meta]\nstudy = "a"\n[strategy]\ntype = "pairs"\n[schedule]\ncron = "1 2 * * 1"\ntimezone = "Mars"',
            "t.toml: [schedule] timezone: 'Mars' is no time zone",
        ),
        (
            '[meta]\nstudy = "a"\n[loader]\nsymbols = ["../x"]\n[strategy]\ntype = "pairs"',
            "t.toml: [loader] symbols.0: '../x' is not a symbol",
        ),
    ],
)
def test_a_mistake_in_a_template_names_file_table_and_key(text: str, words: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        parse_template(text, "t.toml")

    assert words in str(refused.value)
