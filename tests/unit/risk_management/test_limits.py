"""Every limit at its boundary, the order of denials, and the guard against correlation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.risk_management.domain.book import Book, Entry
from src.services.risk_management.domain.codes import RejectCode
from src.services.risk_management.domain.events import EarningsCalendar, EarningsReport, MarketEvent
from src.services.risk_management.domain.limits import LIMITS as ALL_LIMITS
from src.services.risk_management.domain.limits import Limit, RiskLimits, judge, may_exit
from src.services.risk_management.domain.review import decide_exits
from src.services.risk_management.domain.sizing import Size
from src.services.risk_management.domain.state import EquityHistory, Standing
from src.shared.domain.orders import AssetReport
from src.shared.domain.pairs import PairMode
from src.shared.domain.risk import APPROVED, RiskState
from src.shared.domain.signals import SignalAction
from tests.unit.risk_management.examples import (
    CALENDAR,
    CLOSE,
    LIMITS,
    SLOT,
    account,
    asset,
    book,
    correlations,
    earnings,
    entry,
    holding,
    signal,
    sized,
    standing,
)

EXIT = SignalAction.EXIT
NO_SIZE = Size(Decimal(0), Decimal(0), Decimal(0), Decimal(0), RejectCode.NO_EDGE, "no edge", {})


def code(of: Entry, against: Book, limits: RiskLimits = LIMITS) -> str:
    return judge(of, against, limits).code


def equity(now: str, peak: str = "100000", day_start: str = "100000") -> EquityHistory:
    return EquityHistory(Decimal(now), Decimal(peak), Decimal(day_start))


def hard_to_borrow(symbol: str) -> AssetReport:
    return replace(asset(symbol), easy_to_borrow=False)


def reports(symbol: str, first: int, last: int | None = None) -> EarningsReport:
    """Make a report in November; with a last day it is an estimate."""
    return EarningsReport(symbol, date(2026, 11, first), date(2026, 11, last or first), last not in (None, first))


# Each row breaks one rule and all that are asked later, so that the order shows.
BROKEN: list[tuple[RejectCode, dict[str, object], dict[str, object], dict[str, object]]] = [
    (RejectCode.TRADING_DISABLED, {}, {}, {"trading_enabled": False}),
    (RejectCode.RISK_STATE, {}, {"standing": standing(RiskState.REDUCING)}, {}),
    (RejectCode.ACCOUNT_BLOCKED, {}, {"account": replace(account(), trading_blocked=True)}, {}),
    (RejectCode.PAIR_NOT_ACTIVE, {"mode": PairMode.OBSERVE}, {}, {}),
    (RejectCode.NOT_RECONCILED, {}, {"reconciled": False}, {}),
    (RejectCode.ORPHAN_OPEN, {}, {"holdings": (replace(holding(), is_orphaned=True),)}, {}),
    (RejectCode.DATA_STALE, {}, {"fresh": frozenset({"AAA"})}, {}),
    (RejectCode.MARKET_CLOSED, {}, {"market_open": False}, {}),
    (RejectCode.NO_TIME_LEFT, {}, {"market_close": SLOT + timedelta(minutes=31)}, {}),
    (RejectCode.MAX_OPEN_PAIRS, {}, {"holdings": tuple(holding(f"C{i}/D{i}") for i in range(10))}, {}),
    (RejectCode.PAIR_ALREADY_OPEN, {}, {"holdings": (holding("AAA/BBB"),)}, {}),
    (RejectCode.NO_EDGE, {"size": NO_SIZE}, {}, {}),
    (RejectCode.GROSS_EXPOSURE, {"size": sized("75001", "-75000")}, {}, {}),
    (RejectCode.NET_EXPOSURE, {}, {"holdings": (holding(notional_1="60000", notional_2="-5000"),)}, {}),
    (RejectCode.SYMBOL_EXPOSURE, {"size": sized("26000", "-26000")}, {}, {}),
    (RejectCode.PAIR_EXPOSURE, {}, {}, {"max_pair_fraction": Decimal("0.019")}),
    (RejectCode.CORRELATION, {}, {"holdings": (holding("CCC/AAA"),)}, {}),
    (RejectCode.ORDERS_PER_MINUTE, {}, {"orders_last_minute": 60}, {}),
    (RejectCode.ORDERS_PER_DAY, {}, {"orders_today": 500}, {}),
    (RejectCode.DAILY_LOSS, {}, {"equity": equity("96000", day_start="100000")}, {}),
    (RejectCode.ROLLING_LOSS, {}, {"booked": Decimal(-5000)}, {}),
    (RejectCode.DRAWDOWN, {}, {"equity": equity("90000", day_start="90000")}, {}),
    (RejectCode.NOT_TRADABLE, {}, {"assets": {"BBB": asset("BBB")}}, {}),
    (RejectCode.NOT_SHORTABLE, {}, {"assets": {"AAA": asset("AAA"), "BBB": hard_to_borrow("BBB")}}, {}),
    (RejectCode.BUYING_POWER, {}, {"account": account(buying_power="10")}, {}),
    (RejectCode.EVENT_RISK, {}, {"events": (MarketEvent("BBB", date(2026, 11, 19), "ex-dividend"),)}, {}),
    (RejectCode.EARNINGS_RISK, {}, {"earnings": earnings(reports("BBB", 19))}, {}),
]


def test_a_calm_book_approves_and_keeps_every_number() -> None:
    verdict = judge(entry(), book(), LIMITS)

    assert (verdict.allowed, verdict.code) == (True, APPROVED)
    assert list(verdict.numbers) == [rule.name for rule in ALL_LIMITS]


@pytest.mark.parametrize(("expected", "of", "against", "limits"), BROKEN, ids=[row[0] for row in BROKEN])
def test_each_broken_rule_denies_with_its_code(
    expected: RejectCode, of: dict[str, object], against: dict[str, object], limits: dict[str, object]
) -> None:
    broken = replace(entry(), **of)  # type: ignore[arg-type]
    verdict = judge(broken, book(**against), replace(LIMITS, **limits))  # type: ignore[arg-type]

    assert (verdict.allowed, verdict.code) == (False, expected)
    assert verdict.reason.endswith(".") or verdict.code == RejectCode.NO_EDGE


def test_denials_come_in_the_order_of_the_rules() -> None:
    codes = [row[0] for row in BROKEN]

    for earlier, later in pairwise(BROKEN):
        both = replace(entry(), **(later[1] | earlier[1]))  # type: ignore[arg-type]
        against = book(**(later[2] | earlier[2]))
        limits = replace(LIMITS, **(later[3] | earlier[3]))  # type: ignore[arg-type]
        assert code(both, against, limits) == earlier[0]
    sizing_codes = {RejectCode.UNSIZABLE, RejectCode.SIZE_TOO_SMALL, RejectCode.RATIO_OFF}
    assert codes == [known for known in RejectCode if known not in sizing_codes]


@pytest.mark.parametrize(
    ("of", "against", "expected"),
    [
        ({}, {"now": SLOT + timedelta(minutes=15)}, APPROVED),
        ({}, {"now": SLOT + timedelta(minutes=15, seconds=1)}, RejectCode.DATA_STALE),
        ({}, {"now": SLOT - timedelta(seconds=1)}, RejectCode.DATA_STALE),
        ({"has_reading": False}, {}, RejectCode.DATA_STALE),
        ({}, {"unpriced": ("CCC",)}, RejectCode.DATA_STALE),
        ({}, {"market_close": None}, RejectCode.MARKET_CLOSED),
        ({}, {"slot": CLOSE, "now": CLOSE}, RejectCode.MARKET_CLOSED),
        ({}, {"market_close": SLOT + timedelta(minutes=61, seconds=1)}, APPROVED),
        ({}, {"market_close": SLOT + timedelta(minutes=61)}, RejectCode.NO_TIME_LEFT),
        ({}, {"holdings": tuple(holding(f"C{i}/D{i}", "1", "-1") for i in range(9))}, RejectCode.CORRELATION),
        (
            {"size": sized("12500", "-12500")},
            {"holdings": (holding(notional_1="62500", notional_2="-62500"),)},
            APPROVED,
        ),
        (
            {"size": sized("12501", "-12500")},
            {"holdings": (holding(notional_1="62500", notional_2="-62500"),)},
            RejectCode.GROSS_EXPOSURE,
        ),
        ({}, {"holdings": (holding(notional_1="50000", notional_2="0"),)}, APPROVED),
        ({}, {"holdings": (holding(notional_1="50001", notional_2="0"),)}, RejectCode.NET_EXPOSURE),
        ({}, {"holdings": (holding(notional_1="-50001", notional_2="0"),)}, RejectCode.NET_EXPOSURE),
        ({"size": sized("25000", "-25000")}, {}, APPROVED),
        ({"size": sized("25000", "-25001")}, {}, RejectCode.SYMBOL_EXPOSURE),
        ({}, {"orders_last_minute": 58}, APPROVED),
        ({}, {"orders_last_minute": 59}, RejectCode.ORDERS_PER_MINUTE),
        ({}, {"orders_last_minute": 57, "planned_orders": 2}, RejectCode.ORDERS_PER_MINUTE),
        ({}, {"orders_today": 498}, APPROVED),
        ({}, {"orders_today": 499}, RejectCode.ORDERS_PER_DAY),
        ({}, {"equity": equity("97000.01")}, APPROVED),
        ({}, {"equity": equity("97000")}, RejectCode.DAILY_LOSS),
        ({}, {"equity": equity("95000.01", day_start="95000.01")}, APPROVED),
        ({}, {"equity": equity("95000", day_start="95000")}, RejectCode.DRAWDOWN),
        ({}, {"account": replace(account(), shorting_enabled=False)}, RejectCode.NOT_SHORTABLE),
        ({}, {"account": account(buying_power="2060")}, APPROVED),
        ({}, {"account": account(buying_power="2059.99")}, RejectCode.BUYING_POWER),
        ({}, {"account": account(buying_power="2060"), "reserved": Decimal("0.01")}, RejectCode.BUYING_POWER),
    ],
)
def test_limits_bite_at_their_boundary(of: dict[str, object], against: dict[str, object], expected: str) -> None:
    assert code(replace(entry(), **of), book(**against)) == expected  # type: ignore[arg-type]


def test_overnight_holding_lifts_the_last_hour() -> None:
    late = book(market_close=SLOT + timedelta(minutes=10))

    assert code(entry(), late, replace(LIMITS, overnight=True)) == APPROVED


def test_only_the_leg_that_is_sold_must_be_easy_to_borrow() -> None:
    hard = book(assets={"AAA": hard_to_borrow("AAA"), "BBB": asset("BBB")})

    assert code(entry(), hard) == APPROVED
    assert code(entry(action=SignalAction.ENTER_SHORT, z=2.2), hard) == RejectCode.NOT_SHORTABLE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.85, APPROVED),
        (-0.85, APPROVED),
        (0.86, RejectCode.CORRELATION),
        (-0.86, RejectCode.CORRELATION),
        (nan, RejectCode.CORRELATION),
    ],
)
def test_the_guard_looks_at_every_leg_held(value: float, expected: str) -> None:
    related = correlations({("BBB", "CCC"): value})

    assert code(entry(), book(holdings=(holding("CCC/DDD"),), correlations=related)) == expected


def test_an_unknown_correlation_does_not_hide_behind_a_known_one() -> None:
    related = correlations({("AAA", "CCC"): 0.2, ("BBB", "DDD"): nan})

    verdict = judge(entry(), book(holdings=(holding("CCC/DDD"),), correlations=related), LIMITS)

    assert verdict.code == RejectCode.CORRELATION
    assert "can't be told" in verdict.reason


def test_the_pairs_own_legs_may_move_together() -> None:
    assert code(entry(), book(correlations=correlations({("AAA", "BBB"): 0.99}))) == APPROVED


def test_a_symbol_of_another_pair_is_refused_on_either_side_unless_the_guard_is_off() -> None:
    for legs in (("5000", "-5000"), ("-5000", "5000")):
        shared = book(holdings=(holding("AAA/DDD", *legs),))
        assert code(entry(), shared) == RejectCode.CORRELATION
        assert code(entry(), shared, replace(LIMITS, max_correlation=1.0)) == APPROVED


def test_an_approval_is_seen_by_the_next_entry_of_the_cycle() -> None:
    related = correlations({("AAA", "CCC"): 0.9})
    before = book(correlations=related)
    after = before.with_approved(entry("AAA/BBB"))

    assert code(entry("CCC/DDD"), before) == APPROVED
    assert code(entry("CCC/DDD"), after) == RejectCode.CORRELATION
    assert code(entry("EEE/FFF"), after) == APPROVED
    assert (after.planned_orders, after.reserved) == (2, Decimal(2060))


def test_a_verdict_says_when_to_ask_again() -> None:
    tomorrow = judge(entry(), book(equity=equity("90000")), LIMITS).until

    assert tomorrow is not None
    assert tomorrow.isoformat() == "2026-11-19T00:00:00-05:00"


def test_exits_pass_every_state_but_halted() -> None:
    assert [may_exit(state) for state in RiskState] == [True, True, False]


@given(st.sets(st.sampled_from(range(len(BROKEN)))))
def test_any_combination_of_breached_limits_denies_entries_and_lets_every_exit_pass(broken: set[int]) -> None:
    of: dict[str, object] = {}
    against: dict[str, object] = {}
    limits: dict[str, object] = {}
    for i in sorted(broken):
        of, against, limits = of | BROKEN[i][1], against | BROKEN[i][2], limits | BROKEN[i][3]
    entered = judge(replace(entry(), **of), book(**against), replace(LIMITS, **limits))  # type: ignore[arg-type]
    standing_now = against.get("standing", Standing())
    assert isinstance(standing_now, Standing)

    exits = decide_exits([signal("AAA/BBB", SignalAction.STOP), signal("CCC/DDD", EXIT)], SLOT, standing_now)

    assert entered.allowed is (not broken)
    assert [decision.code for decision in exits] == [APPROVED, APPROVED]


def test_halted_stops_exits_too() -> None:
    (decision,) = decide_exits([signal("AAA/BBB", EXIT)], SLOT, standing(RiskState.HALTED))

    assert decision.code == RejectCode.RISK_STATE


@pytest.mark.parametrize(
    ("booked", "code_expected"),
    [("-4999.99", APPROVED), ("-5000", RejectCode.ROLLING_LOSS), ("900000", APPROVED)],
)
def test_a_rolling_loss_denies_when_it_is_reached_until_the_next_day(booked: str, code_expected: str) -> None:
    verdict = judge(entry(), book(booked=Decimal(booked)), LIMITS)

    assert verdict.code == code_expected
    midnight = datetime(2026, 11, 19, 5, tzinfo=UTC)
    assert verdict.until == (None if verdict.allowed else midnight)


@pytest.mark.parametrize(
    ("day", "days", "code_expected"),
    [
        (17, 2, APPROVED),
        (18, 2, RejectCode.EVENT_RISK),
        (19, 2, RejectCode.EVENT_RISK),
        (20, 2, APPROVED),
        (18, 1, RejectCode.EVENT_RISK),
        (19, 1, APPROVED),
        (18, 0, APPROVED),
    ],
)
def test_an_event_of_a_leg_denies_within_the_days_asked_for(day: int, days: int, code_expected: str) -> None:
    events = (MarketEvent("AAA", date(2026, 11, day), "split"), MarketEvent("ZZZ", date(2026, 11, 18), "split"))

    verdict = judge(entry(), book(events=events), replace(LIMITS, event_days=days))

    assert verdict.code == code_expected
    assert verdict.until == (None if verdict.allowed else datetime(2026, 11, day + 1, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("first", "last", "sessions", "code_expected"),
    [
        # The 18th is a Wednesday, the 26th a holiday.
        (16, 16, 1, APPROVED),
        (17, 17, 1, RejectCode.EARNINGS_RISK),
        (18, 18, 1, RejectCode.EARNINGS_RISK),
        (19, 19, 1, RejectCode.EARNINGS_RISK),
        (20, 20, 1, APPROVED),
        (16, 20, 1, RejectCode.EARNINGS_RISK),
        (13, 13, 3, RejectCode.EARNINGS_RISK),
        (12, 12, 3, APPROVED),
        (21, 21, 3, RejectCode.EARNINGS_RISK),
        (25, 25, 6, RejectCode.EARNINGS_RISK),
        (27, 27, 6, RejectCode.EARNINGS_RISK),
        (28, 28, 6, APPROVED),
        (18, 18, 0, APPROVED),
    ],
)
def test_a_leg_that_reports_denies_so_many_sessions_before_and_after(
    first: int, last: int, sessions: int, code_expected: str
) -> None:
    near = CALENDAR.days_around(date(2026, 11, 18), sessions)
    known = EarningsCalendar((reports("AAA", first, last), reports("ZZZ", 18)), *near)

    verdict = judge(entry(), book(earnings=known), replace(LIMITS, earnings_sessions=sessions))

    assert verdict.code == code_expected


def test_the_denial_names_the_leg_and_the_days_and_what_is_not_known_is_no_denial() -> None:
    soon = judge(entry(), book(earnings=earnings(reports("BBB", 19, 23), reports("BBB", 30))), LIMITS)
    later = judge(entry(), book(earnings=earnings(reports("BBB", 30))), LIMITS)

    assert soon.reason == (
        "BBB reports earnings on 2026-11-19 to 2026-11-23 (estimated); no entry within 1 session of it."
    )
    assert soon.until == datetime(2026, 11, 19, 5, tzinfo=UTC)
    assert soon.numbers["earnings"] == {
        "sessions": 1,
        "AAA": "unknown",
        "BBB": "2026-11-19 to 2026-11-23 (estimated)",
    }
    assert later.allowed
    assert later.numbers["earnings"] == {"sessions": 1, "AAA": "unknown", "BBB": "2026-11-30"}


@pytest.mark.parametrize("rule", ALL_LIMITS, ids=lambda rule: rule.name)
def test_every_rule_has_a_name_a_scope_and_one_way_to_answer(rule: Limit) -> None:
    verdict = rule.check(entry(), book(), LIMITS)

    assert verdict.allowed
    assert rule.scope in {"account", "market", "pair", "symbol"}
    assert [other.name for other in ALL_LIMITS].count(rule.name) == 1
