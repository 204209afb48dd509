"""What a demo replays, chosen from what a person asked for and what the bars hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from src.config.settings import load_settings
from src.services.cli.children import children
from src.services.cli.demo.plan import Market, Request, make_plan, parse_pairs, read_market
from src.services.cli.demo.stage import demo_environment
from src.shared.domain.errors import InputInvalid
from src.shared.domain.sessions import TradingCalendar

CALENDAR = TradingCalendar()
LONG = (datetime(2025, 1, 2, 14, 30, tzinfo=UTC), datetime(2025, 6, 30, 20, 0, tzinfo=UTC))
LATE = (datetime(2025, 3, 3, 14, 30, tzinfo=UTC), datetime(2025, 6, 30, 20, 0, tzinfo=UTC))
MARKET = Market({"AAA": LONG, "BBB": LONG, "CCC": LATE}, ("AAA/BBB",))
FILE = Path("bars.parquet")


def asked(*pairs: str, data: Path | None = FILE, start: date | None = None, slots: int | None = None) -> Request:
    return Request(data, pairs, start, slots, "inline")


def new_york(slot: datetime) -> str:
    from zoneinfo import ZoneInfo

    return f"{slot.astimezone(ZoneInfo('America/New_York')):%Y-%m-%d %H:%M}"


def test_own_bars_are_fitted_on_the_first_half_and_traded_from_the_second() -> None:
    plan = make_plan(asked("AAA/BBB"), MARKET, CALENDAR)

    hours = CALENDAR.spans_between(*LONG)
    assert abs(plan.fit_bars - len(hours) / 2) <= 7
    assert plan.fit_until < plan.slots[0]
    assert plan.fit_until == hours[plan.fit_bars - 1][1]


def test_the_half_is_that_of_what_the_pairs_have_in_common() -> None:
    alone = make_plan(asked("AAA/BBB"), MARKET, CALENDAR)
    with_late = make_plan(asked("AAA/BBB", "BBB/CCC"), MARKET, CALENDAR)

    assert with_late.slots[0] > alone.slots[0]
    assert with_late.fit_bars < alone.fit_bars


def test_two_sessions_are_traded_at_each_end_of_an_hour_while_the_market_is_open() -> None:
    plan = make_plan(asked("AAA/BBB", start=date(2025, 3, 6)), MARKET, CALENDAR)

    assert [new_york(slot)[5:] for slot in plan.slots] == [
        f"03-{day:02} {hour}:30" for day in (6, 7) for hour in range(10, 16)
    ]


def test_daylight_saving_moves_the_slots_in_utc_only() -> None:
    plan = make_plan(asked("AAA/BBB", start=date(2025, 3, 7)), MARKET, CALENDAR)

    friday, monday = plan.slots[0], plan.slots[6]
    assert (new_york(friday), new_york(monday)) == ("2025-03-07 10:30", "2025-03-10 10:30")
    assert (friday.hour, monday.hour) == (15, 14)


def test_slots_are_counted_over_as_many_sessions_as_it_takes() -> None:
    assert len(make_plan(asked("AAA/BBB", start=date(2025, 3, 6), slots=100), MARKET, CALENDAR).slots) == 100


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (asked("AAA/ZZZ"), "holds no ZZZ"),
        (asked("AAA/BBB", start=date(2025, 1, 3)), "7 hourly bars lie before 2025-01-03"),
        (asked("AAA/BBB", start=date(2026, 1, 5)), "no whole session from 2026-01-05"),
        (asked(data=FILE), "name the pairs"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line(request_: Request, says: str) -> None:
    market = Market(MARKET.spans, ())
    with pytest.raises(InputInvalid, match=says):
        make_plan(request_, market, CALENDAR)


def test_the_synthetic_market_needs_no_pairs_named() -> None:
    plan = make_plan(Request(None, (), None, None, "worker"), read_market(7, None), CALENDAR)

    assert len(plan.pairs) >= 6
    assert len(plan.slots) == 12
    assert plan.fit_bars == 1200


@pytest.mark.parametrize(
    "text", ["SPY", "SPY/", "spy/qqq", "SPY/SPY", "X;DROP/QQQ", "../orders/QQQ", "SPY/QQQ,SPY/QQQ"]
)
def test_a_name_that_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid):
        parse_pairs(text)


def test_a_demo_that_nobody_keeps_serves_the_pool_of_its_flow_alone(tmp_path: Path) -> None:
    passing = demo_environment(tmp_path, asked(), {})
    kept = demo_environment(tmp_path, replace(asked(), keep=True), {})

    assert passing["TRADEWINDS_PREFECT_WORKER_POOLS"] == "strategy-engine-pool"
    assert "TRADEWINDS_PREFECT_WORKER_POOLS" not in kept


@pytest.mark.parametrize(
    ("pools", "words"),
    [("", ["--all"]), ("execution-pool, analytics-pool", ["--pool", "execution-pool", "--pool", "analytics-pool"])],
)
def test_the_worker_serves_the_pools_of_the_settings(
    pools: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWINDS_PREFECT_WORKER_POOLS", pools)
    worker = next(child for child in children() if child.name == "prefect-worker")

    assert worker.command(load_settings())[1:] == words
