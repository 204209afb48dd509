from __future__ import annotations

from datetime import UTC, datetime

import pytest

from src.shared.domain.retention import days_of_bars
from src.shared.domain.sessions import TradingCalendar


@pytest.mark.parametrize("bars", [20, 100, 500, 2000])
def test_the_bars_of_every_day_of_six_years_lie_within_the_bound(bars: int) -> None:
    calendar = TradingCalendar()
    ends = calendar.slots_between(datetime(2020, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC))

    spans = [(ends[last] - ends[last - bars + 1]).days for last in range(bars - 1, len(ends))]

    assert max(spans) < days_of_bars(bars) < 1.05 * max(spans) + 12
