"""What the quality gate lets through and what not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf, isfinite, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.data_ingestion.domain.gate import Rejection, judge
from src.services.data_ingestion.domain.grid import Grid
from src.shared.domain.bars import Bar, BarColumns
from tests.fakes.bar_columns import rows_of

OPEN = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPANS = [(OPEN + i * HOUR, OPEN + (i + 1) * HOUR) for i in range(6)]
NOW = SPANS[-1][1]


def bar(i: int = 2, **changes: Any) -> Bar:
    start, end = SPANS[i]
    return replace(Bar("SPY", start, end, 100.0, 101.0, 99.0, 100.5, 1000.0), **changes)


@dataclass(frozen=True)
class Verdict:
    """What became of some bars, as values that can be compared."""

    accepted: tuple[Bar, ...]
    rejected: tuple[Rejection, ...]


def judged(*bars: Bar, before: Sequence[float] = (100.0, 100.0), now: datetime = NOW) -> Verdict:
    verdict = judge(BarColumns.of("SPY", bars), Grid.of(SPANS), np.array(before), now, spike_ratio=10.0)
    return Verdict(tuple(rows_of(verdict.accepted)), verdict.rejected)


FAULTS = [
    ({"close": nan}, "not finite"),
    ({"open": inf, "high": inf}, "not finite"),
    ({"low": -inf}, "not finite"),
    ({"volume": nan}, "not finite"),
    ({"low": 0.0}, "not above zero"),
    ({"open": -1.0, "low": -1.0}, "not above zero"),
    ({"high": 2e9, "close": 1e9}, "too large"),
    ({"volume": -1.0}, "volume"),
    ({"volume": 1e15}, "volume"),
    ({"high": 98.0}, "high is below low"),
    ({"open": 101.5}, "open is outside"),
    ({"close": 98.5}, "close is outside"),
    ({"start": OPEN + timedelta(minutes=1)}, "misaligned"),
    ({"end": OPEN + timedelta(minutes=30)}, "misaligned"),
    ({"start": NOW - HOUR / 2, "end": NOW + HOUR / 2}, "not finished"),
    ({"start": NOW, "end": NOW + HOUR}, "from the future"),
    ({"high": 1100.0}, "spike"),
    ({"low": 9.0}, "spike"),
]


@pytest.mark.parametrize(("changes", "reason"), FAULTS)
def test_a_bad_bar_is_rejected_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    verdict = judged(bar(1), bar(2, **changes), bar(3))

    assert [b.end for b in verdict.accepted] == [SPANS[1][1], SPANS[3][1]]
    (rejection,) = verdict.rejected
    assert reason in rejection.reason
    assert rejection.symbol == "SPY"


def test_the_second_bar_of_the_same_hour_is_rejected() -> None:
    verdict = judged(bar(1), bar(1, close=100.6))

    assert verdict.accepted == (bar(1),)
    assert verdict.rejected[0].reason == "duplicate"


def test_a_lone_bar_without_any_neighbour_is_let_through() -> None:
    assert judged(bar(0), before=()).accepted == (bar(0),)


def test_a_spike_is_seen_in_the_first_and_in_the_last_bar() -> None:
    wild = {"open": 2000.0, "high": 2000.0, "low": 2000.0, "close": 2000.0}

    assert judged(bar(0, **wild), bar(1), bar(2), bar(3), before=()).accepted == (bar(1), bar(2), bar(3))
    assert judged(bar(1), bar(2), bar(3, **wild), before=()).accepted == (bar(1), bar(2))
    assert judged(bar(3, **wild), before=(100.0,)).accepted == ()
    assert judged(bar(2), bar(3, **wild), before=()).accepted == ()


def test_a_move_of_just_the_ratio_is_no_spike() -> None:
    jump = bar(2, high=1005.0, close=1005.0)

    assert judged(bar(1, close=100.5), jump, bar(3, close=100.5)).rejected == ()


def test_one_spike_does_not_drag_its_neighbours_down() -> None:
    wild = bar(2, open=1e6, high=1e6, low=1e6, close=1e6)

    assert judged(bar(1), wild, bar(3), before=()).accepted == (bar(1), bar(3))


NUMBERS = st.one_of(
    st.sampled_from([nan, inf, -inf, 0.0, -1.0, 1e-300, 1e308, 100.0, 1e9, 1e15]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(90, 110),
)
MOMENTS = st.integers(-4, 16).map(lambda n: OPEN + n * timedelta(minutes=30))
BARS = st.builds(
    Bar, st.just("SPY"), MOMENTS, MOMENTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.one_of(NUMBERS, st.floats(0, 1e6))
)


@given(bars=st.lists(BARS, max_size=12), now=MOMENTS, before=st.lists(st.floats(1, 1000), max_size=4))
def test_nothing_bad_gets_through_and_every_bar_is_accounted_for(
    bars: list[Bar], now: datetime, before: list[float]
) -> None:
    verdict = judged(*bars, before=before, now=now)

    assert len(verdict.accepted) + len(verdict.rejected) == len(bars)
    ends = [b.end for b in verdict.accepted]
    assert ends == sorted(set(ends))
    for b in verdict.accepted:
        assert (b.start, b.end) in SPANS
        assert b.end <= now
        assert all(isfinite(x) for x in (b.open, b.high, b.low, b.close, b.volume))
        assert 0 < b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high < 1e9
        assert 0 <= b.volume < 1e15
