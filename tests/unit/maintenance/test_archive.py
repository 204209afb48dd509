"""What is old enough, how files are named, and the digest of rows."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.maintenance.domain.archive import Retention, SeriesMonth, next_part, parse_month
from src.services.maintenance.domain.bar_rows import content_digest
from src.services.maintenance.domain.upkeep import TableState, is_old_log
from src.shared.domain.errors import InputInvalid, Terminal

RETENTION = Retention(intraday_days=90, daily_days=None, restored_days=7)


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("timeframe", "newest", "now", "first_kept"),
    [
        ("1Hour", at(2026, 7, 15), at(2026, 7, 15), at(2026, 4, 1)),
        # the market stood still, or is replayed: days count back from its last bar
        ("1Hour", at(2026, 3, 15), at(2026, 7, 15), at(2025, 12, 1)),
        # a vendor's bar from the future does not shorten the rest
        ("1Hour", at(2030, 1, 1), at(2026, 7, 15), at(2026, 4, 1)),
        ("30Min", at(2026, 4, 1), at(2026, 4, 1), at(2026, 1, 1)),
        ("1Day", at(2026, 7, 15), at(2026, 7, 15), None),
        ("1Week", at(2026, 7, 15), at(2026, 7, 15), None),
        ("3mo", at(2026, 7, 15), at(2026, 7, 15), None),
        ("1m", at(2026, 7, 15), at(2026, 7, 15), at(2026, 4, 1)),
        ("1d", at(2026, 7, 15), at(2026, 7, 15), None),
    ],
)
def test_whole_months_older_than_the_retention_go(
    timeframe: str, newest: datetime, now: datetime, first_kept: datetime | None
) -> None:
    assert RETENTION.first_kept_month(timeframe, newest, now) == first_kept


def test_daily_bars_go_where_a_setting_says_so() -> None:
    assert Retention(90, 365, 7).first_kept_month("1Day", at(2026, 7, 15), at(2026, 7, 15)) == at(2025, 7, 1)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "/", "a b", "..\\x", "-rf"])
def test_a_series_whose_name_leads_elsewhere_has_no_folder(name: str) -> None:
    for series in (SeriesMonth(date(2026, 3, 1), name, "1Hour"), SeriesMonth(date(2026, 3, 1), "alpaca", name)):
        with pytest.raises(Terminal, match="not archived"):
            series.file(1)


def test_files_are_named_by_month_and_part() -> None:
    series = SeriesMonth(date(2026, 12, 1), "alpaca", "1Hour")

    assert series.file(7) == "alpaca/1Hour/2026-12.007.parquet"
    assert (series.start, series.end) == (at(2026, 12, 1), at(2027, 1, 1))
    assert next_part([]) == 1
    assert next_part([series.file(1), series.file(1234), "alpaca/1Hour/2026-12.x.parquet"]) == 1235


@pytest.mark.parametrize("text", ["2026-13", "2026", "March", "", "2026-03-01"])
def test_what_is_no_month_is_a_persons_mistake(text: str) -> None:
    with pytest.raises(InputInvalid, match="is not a month"):
        parse_month(text)


ROWS = st.lists(
    st.tuples(
        st.text(max_size=5) | st.none(),
        st.floats(allow_nan=False) | st.none(),
        st.integers(-(2**62), 2**62) | st.none(),
        st.booleans() | st.none(),
    ),
    max_size=6,
)
NAMES = ["text", "number", "whole", "flag"]
TYPES = [pa.string(), pa.float64(), pa.int64(), pa.bool_()]


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = [[row[place] for row in rows] for place in range(len(NAMES))]
    return pa.table([pa.array(each, kind) for each, kind in zip(columns, TYPES, strict=True)], names=NAMES)


@settings(deadline=None)
@given(ROWS, ROWS)
def test_rows_have_the_same_digest_only_where_they_are_the_same(
    rows: list[tuple[object, ...]], others: list[tuple[object, ...]]
) -> None:
    same = repr(rows) == repr(others)

    assert (content_digest(table(rows)) == content_digest(table(others))) is same


@settings(deadline=None)
@given(ROWS)
def test_how_rows_are_cut_into_pieces_does_not_matter(rows: list[tuple[object, ...]]) -> None:
    pieces = pa.concat_tables([table(rows[:2]), table(rows[2:])])

    assert content_digest(pieces) == content_digest(table(rows))


def test_a_digest_stays_what_it_is() -> None:
    """A stored one must hold in ten years: this text never changes."""
    assert content_digest(table([("a", 1.5, 7, True), (None, None, None, None)])) == (
        "b421e5f6ad68f9bcef8cba908ece7bbcb50db7999c37401705ca109960a986a2"
    )


def test_a_column_without_canonical_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="no canonical bytes"):
        content_digest(pa.table({"odd": pa.array([[1]], pa.list_(pa.int64()))}))


@pytest.mark.parametrize(
    ("name", "is_old"),
    [
        ("tradewinds-cli.2026-02-27.jsonl", True),
        ("tradewinds-risk_management.2026-02-27.jsonl", True),
        ("tradewinds-cli.2026-02-28.jsonl", False),
        ("tradewinds-cli.jsonl", False),
        ("tradewinds-cli.2026-02-30.jsonl", False),
        ("other.2026-02-27.jsonl", False),
        ("tradewinds-../x.2026-02-27.jsonl", False),
    ],
)
def test_only_a_days_log_of_ours_is_old(name: str, is_old: bool) -> None:
    assert is_old_log(name, date(2026, 3, 30), 30) is is_old


@pytest.mark.parametrize(
    ("live", "dead", "wants"), [(0, 999, False), (0, 1000, True), (10_001, 1000, False), (10_000, 1000, True)]
)
def test_a_tenth_of_dead_rows_wants_a_vacuum(live: int, dead: int, wants: bool) -> None:
    assert TableState("ops.outbox", live, dead, 0).wants_vacuum is wants
