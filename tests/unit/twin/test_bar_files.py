from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.twin.adapters.bar_file import market_from_file
from src.services.twin.domain.bars import RawBars, half_hours, split_hours
from src.services.twin.domain.errors import BarFileInvalid
from src.services.twin.domain.sessions import HALF_HOUR
from tests.shared_data import shared_file
from tests.unit.twin.markets import sessions


def frame(times: list[str], symbol: str = "AAA") -> pd.DataFrame:
    count = len(times)
    return pd.DataFrame(
        {
            "symbol": symbol,
            "timestamp": pd.to_datetime(times, utc=True),
            "open": np.arange(count) + 100.0,
            "high": np.arange(count) + 103.0,
            "low": np.arange(count) + 98.0,
            "close": np.arange(count) + 101.0,
            "volume": 100 * (np.arange(count) + 1),
        }
    )


def saved(table: pd.DataFrame, folder: Path, name: str = "bars.parquet") -> Path:
    path = folder / name
    table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
    return path


def refusal(table: pd.DataFrame, folder: Path, name: str = "bars.parquet") -> str:
    with pytest.raises(BarFileInvalid) as caught:
        market_from_file(saved(table, folder, name), sessions())
    message = str(caught.value)
    assert message.startswith(str(folder)), "the line names the file"
    assert "\n" not in message
    return message


HOURS = [f"2025-03-03T{hour}:30:00Z" for hour in range(14, 21)]


@st.composite
def session_hours(draw: st.DrawFn) -> RawBars:
    """The hours of one full or half day."""
    day = sessions().between(*[draw(st.sampled_from([date(2025, 3, 3), date(2025, 7, 3)]))] * 2)[0]
    start = np.arange(day.open, day.close, 2 * HALF_HOUR, dtype=np.int64)
    price = st.floats(1, 1000, allow_nan=False)
    cells = st.lists(st.tuples(price, price, price, price), min_size=len(start), max_size=len(start))
    ordered = [(a, max(a, b, c, d), min(a, b, c, d), b) for a, b, c, d in draw(cells)]
    volume = draw(st.lists(st.integers(0, 10**9), min_size=len(start), max_size=len(start)))
    open_, high, low, close = np.array(ordered).T
    return RawBars(start, open_, high, low, close, np.array(volume, dtype=np.float64))


@given(session_hours())
@settings(max_examples=80, deadline=None)
def test_splitting_hours_and_adding_them_up_is_the_identity(hours: RawBars) -> None:
    halves = split_hours(sessions(), hours)

    for i, start in enumerate(hours.start):
        mine = halves.at((halves.start >= start) & (halves.start < start + 2 * HALF_HOUR))
        assert mine.open[0] == hours.open[i]
        assert mine.high.max() == hours.high[i]
        assert mine.low.min() == hours.low[i]
        assert mine.close[-1] == hours.close[i]
        assert mine.volume.sum() == hours.volume[i]
        assert np.all((mine.low <= mine.open) & (mine.open <= mine.high) & (mine.close <= mine.high))


@given(session_hours())
@settings(max_examples=20, deadline=None)
def test_the_first_half_of_an_hour_knows_nothing_of_the_second(hours: RawBars) -> None:
    halves = split_hours(sessions(), hours)
    first = halves.at(np.isin(halves.start, hours.start[:-1]))

    assert np.array_equal(first.high, first.open) and np.array_equal(first.close, first.open)


def test_the_last_half_hour_of_a_session_stays_one_bar(tmp_path: Path) -> None:
    market = market_from_file(saved(frame(HOURS), tmp_path), sessions())

    rows = market.series("AAA", "30Min").rows
    assert len(rows) == 13
    assert (rows[-1]["t"], rows[-1]["o"], rows[-1]["h"], rows[-1]["v"]) == ("2025-03-03T20:30:00Z", 106.0, 109.0, 700)


@pytest.mark.parametrize("minutes", [5, 10, 15, 30])
def test_finer_bars_are_added_up_and_those_outside_the_session_left_out(tmp_path: Path, minutes: int) -> None:
    times = pd.date_range("2025-03-03T13:00Z", "2025-03-03T22:00Z", freq=f"{minutes}min")
    table = frame([time.isoformat() for time in times])
    inside = table[(table.timestamp >= "2025-03-03T14:30Z") & (table.timestamp < "2025-03-03T21:00Z")]

    rows = market_from_file(saved(table, tmp_path), sessions()).series("AAA", "30Min").rows

    per_bar = 30 // minutes
    assert len(rows) == 13
    assert rows[0]["o"] == inside.open.iloc[0]
    assert rows[0]["c"] == inside.close.iloc[per_bar - 1]
    assert rows[0]["h"] == inside.high.iloc[:per_bar].max()
    assert sum(row["v"] for row in rows) == inside.volume.sum()


def test_the_order_of_rows_and_the_kind_of_file_do_not_matter(tmp_path: Path) -> None:
    table = frame(HOURS)

    whole = market_from_file(saved(table, tmp_path), sessions()).series("AAA", "30Min").rows
    mixed = market_from_file(saved(table[::-1], tmp_path, "b.csv"), sessions()).series("AAA", "30Min").rows

    assert whole == mixed


def test_bars_that_can_only_be_split_by_telling_the_future_are_refused(tmp_path: Path) -> None:
    clock_hours = [f"2025-03-03T{hour}:00:00Z" for hour in range(14, 21)]
    days = ["2025-03-03T21:00:00Z", "2025-03-04T21:00:00Z"]
    noons = ["2025-03-03T17:00:00Z", "2025-03-04T17:00:00Z"]

    assert "tell the future" in refusal(frame(clock_hours), tmp_path)
    assert "daily bars can't be served" in refusal(frame(days), tmp_path)
    assert "daily bars can't be served" in refusal(frame(noons), tmp_path)
    assert "5, 10, 15, 30 or 60" in refusal(frame(["2025-03-03T14:30Z", "2025-03-03T16:30Z"]), tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("open", float("nan"), "open is not a number"),
        ("volume", float("inf"), "volume is not a number"),
        ("low", 0.0, "price is not above zero"),
        ("high", 90.0, "high and low do not enclose"),
        ("volume", -1, "volume is negative"),
        ("symbol", "a/b", "symbol is not like"),
        ("timestamp", pd.Timestamp(HOURS[0]), "is there twice"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, column: str, value: Any, said: str) -> None:
    table = frame(HOURS).astype({"volume": float})
    table.loc[2, column] = value

    message = refusal(table, tmp_path)

    assert said in message
    assert "row 3" in message


def test_columns_zones_and_contents_are_checked(tmp_path: Path) -> None:
    naive = frame(HOURS).assign(timestamp=lambda t: t.timestamp.dt.tz_localize(None))
    numbers = frame(HOURS).assign(timestamp=1_740_000_000)
    words = frame(HOURS).assign(timestamp="noon")

    assert "column volume missing" in refusal(frame(HOURS).drop(columns="volume"), tmp_path)
    assert "no rows" in refusal(frame(HOURS)[:0], tmp_path)
    assert "no time zone" in refusal(naive, tmp_path)
    assert "no time zone" in refusal(naive, tmp_path, "naive.csv")
    assert "plain number" in refusal(numbers, tmp_path)
    assert "not an ISO time" in refusal(words, tmp_path, "words.csv")


def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")

    for name, said in (
        ("gone.csv", "no such file"),
        ("x.json", ".parquet or .csv"),
        ("broken.parquet", "can't be read"),
    ):
        with pytest.raises(BarFileInvalid, match=said):
            market_from_file(tmp_path / name, sessions())


@pytest.mark.parametrize("name", ["mit_polygon_1h", "mit_yahoo_1h_2025q3"])
def test_real_hours_load_and_add_up_again(name: str) -> None:
    path = shared_file(f"data/{name}.parquet")
    table = pd.read_parquet(path)
    table = table[table.symbol == "COST"].set_index("timestamp")

    market = market_from_file(path, sessions())

    rows = pd.DataFrame(market.series("COST", "30Min").rows).set_index("t")
    rows.index = pd.to_datetime(rows.index)
    week = table["2025-07-01":"2025-07-10"]
    inside = week[[sessions().slot_at(start.value // 1000) is not None for start in week.index]]
    assert len(inside) >= 40
    for start in inside.index:
        hour = inside.loc[start]
        mine = rows[(rows.index >= start) & (rows.index < start + pd.Timedelta("1h"))]
        assert (mine.o.iloc[0], mine.c.iloc[-1]) == (hour.open, hour.close)
        assert (mine.h.max(), mine.l.min(), mine.v.sum()) == (hour.high, hour.low, hour.volume)


def test_half_hours_leave_nan_in_gaps() -> None:
    day = sessions().between(date(2025, 3, 3), date(2025, 3, 3))[0]
    start = np.array([day.open, day.open + 2 * HALF_HOUR], dtype=np.int64)
    ones = np.ones(2)

    grid = half_hours(sessions(), RawBars(start, ones, ones, ones, ones, ones), 30, day.first_slot, 13)

    assert np.isnan(grid.close).tolist() == [False, True, False] + [True] * 10
