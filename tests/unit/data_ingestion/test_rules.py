from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.data_ingestion.domain.rules.series import Split
from src.services.data_ingestion.domain.rules.vendors import compare
from src.shared.domain.bars import DAILY, HOURLY
from tests.unit.data_ingestion.series import (
    NOW,
    RULES,
    broken,
    of,
    place_of,
    scaled,
    sound_series,
    spoilt,
    timetable,
    verdicts,
    without,
)

HALF_DAY = date(2025, 11, 28)
HOUR = np.timedelta64(1, "h")
FRAMES = st.sampled_from([HOURLY, DAILY])
SEEDS = st.integers(0, 10_000)
SPLIT = Split(date(2026, 1, 15), 4.0)
REVERSE = Split(date(2026, 1, 15), 0.1)


def test_names_are_different_and_fit_into_their_column() -> None:
    names = [rule.name for rule in RULES]

    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 32


@settings(max_examples=60)
@given(FRAMES, SEEDS, st.integers(3, 130))
def test_a_sound_series_keeps_every_rule(timeframe: str, seed: int, bars: int) -> None:
    series = sound_series(timeframe, seed)

    assert broken(series) == set()
    assert broken(of(series, series.bars.take(slice(-bars, None)))) == set()


def test_a_series_without_bars_is_stale_and_nothing_else() -> None:
    series = sound_series()

    assert broken(of(series, series.bars.take(slice(0, 0)))) == {"staleness"}


@settings(max_examples=40)
@given(FRAMES, SEEDS, st.integers(1, 60), st.integers(1, 120))
def test_a_hole_is_counted_and_a_long_one_blocks(timeframe: str, seed: int, length: int, at: int) -> None:
    whole = sound_series(timeframe, seed)
    at = min(at, len(whole.bars) - length - 2)

    series = without(whole, slice(at, at + length))
    found = verdicts(series)["hole"]

    assert found.blocks == (length > 2 * series.timetable.bars_a_session)
    assert (series.missing, len(series.holes)) == (length, 1)
    if found.blocks:
        assert found.numbers["longest_hole_bars"] == length
        first = whole.bars.start[at].astype("datetime64[m]").item()
        assert found.numbers["longest_hole_from"] == f"{first:%Y-%m-%d %H:%M}Z"


def test_an_87_day_hole_blocks_and_says_when_it_was() -> None:
    whole = sound_series()
    first, last = place_of(whole, date(2025, 9, 10)), place_of(whole, date(2025, 12, 6))

    found = verdicts(without(whole, slice(first, last)))

    assert found["hole"].blocks
    assert found["hole"].reason == "a hole of 431 bars, 2025-09-10 13:30Z to 2025-12-05 21:00Z"
    assert not found["completeness"].passed
    assert found["completeness"].numbers["lost_sessions"] == 62


def test_a_missing_session_warns_and_does_not_block() -> None:
    whole = sound_series()
    at = place_of(whole, date(2026, 1, 15))

    found = verdicts(without(whole, slice(at, at + 7)))

    assert (found["completeness"].passed, found["completeness"].blocks) == (False, False)
    assert found["hole"].passed


def test_what_is_missing_before_a_young_listing_is_no_hole_but_before_a_series_that_begins_earlier_it_is() -> None:
    series = sound_series()
    young = of(series, series.bars.take(slice(200, None)))

    assert broken(young) == set()
    assert broken(replace(young, begins_earlier=True)) == {"completeness", "hole"}


def test_a_half_day_has_four_bars_and_a_fifth_is_not_the_calendars() -> None:
    series = sound_series()
    at = place_of(series, HALF_DAY)
    day = series.bars.end[at : at + 4]
    assert [str(end)[11:16] for end in day] == ["15:30", "16:30", "17:30", "18:00"]
    assert series.bars.end[at + 4] > np.datetime64("2025-12-01")

    late = series.bars.take(np.insert(np.arange(len(series.bars)), at + 4, at + 3))
    late.start[at + 4] = day[-1]
    late.end[at + 4] = day[-1] + HOUR
    found = verdicts(of(series, late))["alignment"]

    assert found.blocks
    assert (found.numbers["misaligned"], found.numbers["first"]) == (1, "2025-11-28 19:00Z")


@pytest.mark.parametrize("day", [date(2025, 11, 3), date(2026, 3, 9)], ids=["winter begins", "summer begins"])
def test_a_week_that_is_an_hour_off_by_summer_time_is_misaligned(day: date) -> None:
    series = sound_series()
    at = place_of(series, day)
    week = slice(at, at + 35)
    off = series.bars.take(np.arange(len(series.bars)))
    off.start[week] += HOUR
    off.end[week] += HOUR

    found = verdicts(of(series, off))["alignment"]

    assert found.blocks
    # Of seven hours the sixth would now be the seventh, which is half as long, and the seventh is none.
    assert found.numbers["misaligned"] == 10


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 800))
def test_a_doubled_bar_is_found_where_it_is(seed: int, at: int) -> None:
    series = sound_series(seed=seed)
    at = at % len(series.bars)
    order = np.insert(np.arange(len(series.bars)), at, at)

    found = verdicts(of(series, series.bars.take(order)))["alignment"]

    assert (found.blocks, found.numbers["doubled"], found.numbers["misaligned"]) == (True, 1, 0)


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 100))
def test_a_session_told_twice_is_found(seed: int, session: int) -> None:
    series = sound_series(seed=seed)
    times = series.timetable
    today = np.flatnonzero(times.sessions == session)
    yesterday = times.day_before[today]
    copied = {name: getattr(series.bars, name)[yesterday] for name in ("open", "high", "low", "close", "volume")}
    if (yesterday < 0).any():
        return

    found = verdicts(spoilt(series, today.tolist(), **copied))["repeated_session"]

    assert found.blocks
    assert str(found.numbers["first"])[:10] == str(times.starts[today[0]])[:10]


@settings(max_examples=30)
@given(FRAMES, SEEDS, st.integers(0, 800), st.sampled_from(["open", "high", "low", "close", "volume"]),
       st.sampled_from([np.nan, np.inf, -np.inf, -1.0]))  # fmt: skip
def test_an_impossible_number_is_found_and_no_rule_breaks_of_it(
    timeframe: str, seed: int, at: int, column: str, value: float
) -> None:
    series = sound_series(timeframe, seed)

    found = verdicts(spoilt(series, [at % len(series.bars)], **{column: value}))["price_range"]

    assert (found.blocks, found.numbers["impossible"]) == (True, 1)


@pytest.mark.parametrize(("column", "factor"), [("high", 0.5), ("low", 2.0), ("open", 1.5), ("close", 0.5)])
def test_prices_out_of_order_are_found(column: str, factor: float) -> None:
    series = sound_series()

    changed = spoilt(series, [50], **{column: getattr(series.bars, column)[50] * factor})

    assert verdicts(changed)["price_range"].blocks


@settings(max_examples=40)
@given(FRAMES, SEEDS, st.integers(0, 100), st.integers(2, 25))
def test_a_price_that_stands_still_blocks_from_ten_bars_on(timeframe: str, seed: int, at: int, length: int) -> None:
    series = sound_series(timeframe, seed)
    price = series.bars.close[at]
    still = slice(at + 1, at + 1 + length)

    found = verdicts(spoilt(series, still, open=price, high=price, low=price, close=price))["frozen_price"]

    assert found.blocks == (length >= 10)
    assert found.numbers["longest_run_bars"] == length


@settings(max_examples=60)
@given(FRAMES, SEEDS, st.integers(1, 100), st.sampled_from([0.1, 0.6, 1.7, 3.0, 10.0]))
def test_a_price_that_leaves_its_neighbours_and_comes_back_is_a_spike_and_nothing_else(
    timeframe: str, seed: int, at: int, factor: float
) -> None:
    series = sound_series(timeframe, seed)

    changed = scaled(series, slice(at, at + 1), factor)

    assert broken(changed) == {"spike"}
    at_end = changed.bars.end[at].astype("datetime64[m]").item()
    assert verdicts(changed)["spike"].numbers["at"] == f"{at_end:%Y-%m-%d %H:%M}Z"


@settings(max_examples=60)
@given(FRAMES, SEEDS, st.sampled_from([2.0, 3.0, 4.0, 10.0, 20.0, 1.5, 0.5, 0.1, 0.05]))
def test_a_known_split_left_in_adjusted_prices_blocks_and_is_no_spike(
    timeframe: str, seed: int, ratio: float
) -> None:
    series = replace(sound_series(timeframe, seed), splits=[replace(SPLIT, ratio=ratio)])
    at = place_of(series, SPLIT.ex_date)

    changed = scaled(series, slice(at, None), 1 / ratio)

    assert broken(changed) == {"unadjusted_split"}
    assert "2026-01-15" in verdicts(changed)["unadjusted_split"].reason
    assert broken(series) == set()


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([2.0, 3.0, 4.0, 10.0, 20.0, 0.5, 0.1, 0.05]))
def test_a_jump_by_a_splits_ratio_that_stays_blocks_though_nobody_announced_it(seed: int, ratio: float) -> None:
    series = sound_series(seed=seed)
    at = place_of(series, SPLIT.ex_date)

    assert broken(scaled(series, slice(at, None), 1 / ratio)) == {"unadjusted_split"}


@settings(max_examples=40)
@given(FRAMES, SEEDS, st.sampled_from([2.0, 4.0, 0.1]))
def test_raw_prices_show_a_split_and_that_is_right(timeframe: str, seed: int, ratio: float) -> None:
    series = replace(sound_series(timeframe, seed, "raw"), splits=[replace(SPLIT, ratio=ratio)])
    at = place_of(series, SPLIT.ex_date)
    changed = scaled(series, slice(at, None), 1 / ratio)

    assert broken(changed) == set()
    assert broken(replace(changed, splits=[])) == {"unexplained_jump"}


def test_a_large_move_that_stays_and_is_no_split_only_warns() -> None:
    series = sound_series()
    at = place_of(series, date(2026, 1, 15))

    found = verdicts(scaled(series, slice(at, None), 0.7))

    assert {name for name, verdict in found.items() if not verdict.passed} == {"unexplained_jump"}
    assert found["unexplained_jump"].severity == "warning"


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([4.0, 10.0, 0.25, 0.1]), st.integers(7, 80))
def test_an_adjustment_that_changes_across_a_hole_blocks(seed: int, ratio: float, length: int) -> None:
    whole = scaled(sound_series(seed=seed), slice(0, 300), ratio)

    found = broken(without(whole, slice(300 - length, 300)))

    assert "basis_across_hole" in found
    assert found <= {"basis_across_hole", "hole", "completeness"}


def test_a_known_split_within_a_hole_that_one_side_shows_blocks_and_is_named() -> None:
    whole = replace(sound_series(), splits=[replace(SPLIT, ratio=1.5)])
    at = place_of(whole, SPLIT.ex_date)
    changed = without(scaled(whole, slice(0, at), 1.5), slice(at - 20, at + 20))

    assert "the split of 2026-01-15 (1.5 for 1)" in verdicts(changed)["basis_across_hole"].reason
    assert verdicts(without(whole, slice(at - 20, at + 20)))["basis_across_hole"].passed


def test_volume_that_is_missing_where_prices_move_warns_unless_there_never_is_any() -> None:
    series = sound_series()

    assert broken(spoilt(series, slice(0, 100), volume=0.0)) == {"moves_without_volume"}
    assert broken(spoilt(series, slice(0, None), volume=0.0)) == set()


def test_a_volume_many_times_the_usual_one_informs() -> None:
    series = spoilt(sound_series(), [70], volume=1e8)

    assert broken(series) == {"volume_spike"}
    assert verdicts(series)["volume_spike"].severity == "info"


@pytest.mark.parametrize(("away", "names"), [(timedelta(minutes=-1), {"finished"}), (timedelta(0), set())])
def test_a_bar_that_is_not_over_blocks(away: timedelta, names: set[str]) -> None:
    whole = sound_series()
    last = datetime(2026, 3, 13, 20, 0, tzinfo=UTC)

    assert broken(replace(whole, timetable=timetable(now=last + away))) == names


def test_staleness_is_counted_in_bars_of_the_calendar_and_warns() -> None:
    whole = sound_series(times=timetable(now=NOW))
    late = replace(whole, timetable=timetable(now=datetime(2026, 3, 16, 20, 0, tzinfo=UTC)))
    later = replace(whole, timetable=timetable(now=datetime(2026, 3, 17, 14, 30, tzinfo=UTC)))

    assert (late.stale_bars, later.stale_bars) == (7, 8)
    assert broken(late) == set()
    assert broken(later) == {"staleness"}
    assert not verdicts(later)["staleness"].blocks


@settings(max_examples=40)
@given(SEEDS, st.floats(-20, 20))
def test_vendors_that_differ_by_a_little_agree(seed: int, apart_bp: float) -> None:
    series = sound_series(seed=seed)
    other = scaled(series, slice(0, None), 1 + apart_bp / 1e4).bars

    found = verdicts(replace(series, others=[("polygon", other)]))["vendors_agree"]

    assert found.passed
    assert found.numbers["median_bp"] == pytest.approx(abs(apart_bp), abs=0.1)


@pytest.mark.parametrize(
    ("places", "factor", "words"),
    [
        (slice(0, None), 1.02, "another price basis: the middle close is -198 basis points away"),
        (slice(0, None), 4.0, "another price basis"),
        (slice(-200, -199), 1.1, "closes are 953 basis points apart at 2026-02-0"),
    ],
)
def test_vendors_that_disagree_block_with_how_far(places: slice, factor: float, words: str) -> None:
    series = sound_series()
    others = [("yahoo", series.bars), ("polygon", scaled(series, places, factor).bars)]

    found = verdicts(replace(series, others=others))["vendors_agree"]

    assert found.blocks
    assert found.reason.startswith(f"against polygon: {words}")


def test_a_slip_among_old_bars_is_not_held_against_a_vendor() -> None:
    series = sound_series()
    other = scaled(series, slice(40, 41), 1.1).bars

    assert verdicts(replace(series, others=[("polygon", other)]))["vendors_agree"].passed


def test_vendors_with_few_common_bars_are_not_compared() -> None:
    series = sound_series()
    other = scaled(series, slice(0, None), 2.0).bars.take(slice(0, 19))

    assert verdicts(replace(series, others=[("polygon", other)]))["vendors_agree"].passed


def test_bars_of_the_same_end_and_another_start_are_not_compared() -> None:
    bars = sound_series().bars

    assert compare(bars, replace(bars, start=bars.start - HOUR)).bars == 0


@pytest.mark.parametrize("status", ["inactive", "delisted"])
def test_a_symbol_that_is_not_listed_any_more_blocks(status: str) -> None:
    found = verdicts(replace(sound_series(), status=status, status_reason="merged"))["listed"]

    assert (found.blocks, found.reason) == (True, f"the symbol is {status}: merged")


def test_a_fault_found_again_reads_the_same_though_the_series_has_grown() -> None:
    whole = sound_series()
    shorter = of(whole, whole.bars.take(slice(0, -50)))
    hole = slice(100, 140)

    before, after = verdicts(without(shorter, hole)), verdicts(without(whole, hole))

    assert [after[name].says_the_same(before[name]) for name in ("hole", "spike", "listed")] == [True] * 3
    assert not after["staleness"].says_the_same(before["staleness"])


def test_rules_see_what_a_plain_loop_sees_of_runs_and_holes() -> None:
    random = np.random.default_rng(3)
    whole = sound_series()
    for _ in range(20):
        kept = random.random(len(whole.bars)) > 0.2
        series = of(whole, whole.bars.take(kept))
        assert [(hole.first, hole.bars) for hole in series.holes] == plain_holes(kept)


def plain_holes(kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    there = [i for i, is_there in enumerate(kept) if is_there]
    return [(a + 1, b - a - 1) for a, b in pairwise(there) if b - a > 1]


def test_the_page_of_rules_names_each_with_its_severity() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data-quality.md").read_text()

    assert re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE) == [(r.name, r.severity) for r in RULES]
