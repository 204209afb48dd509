"""The account's risk state: what losses do to it, and who may undo it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from src.services.risk_management.domain.state import RISK, EquityHistory, Standing, assess
from src.shared.domain.errors import InvalidTransition
from src.shared.domain.risk import RiskState
from tests.unit.risk_management.examples import NOW

ACTIVE, REDUCING, HALTED = RiskState.ACTIVE, RiskState.REDUCING, RiskState.HALTED


def look(standing: Standing, now: str, peak: str = "100000", day_start: str = "100000", days: int = 0) -> Standing:
    history = EquityHistory(Decimal(now), Decimal(peak), Decimal(day_start))
    return assess(standing, history, Decimal("0.03"), Decimal("0.05"), NOW + timedelta(days=days))


@pytest.mark.parametrize(
    ("now", "day_start", "after", "cause"),
    [
        ("100000", "100000", ACTIVE, "never"),
        ("97001", "100000", ACTIVE, "never"),
        ("97000", "100000", REDUCING, "DAILY_LOSS"),
        ("95001", "95001", ACTIVE, "never"),
        ("95000", "95000", REDUCING, "DRAWDOWN"),
        ("90000", "100000", REDUCING, "DRAWDOWN"),
    ],
)
def test_losses_stop_entries_but_never_exits(now: str, day_start: str, after: RiskState, cause: str) -> None:
    found = look(Standing(), now, day_start=day_start)

    assert found.state is after
    assert found.why.startswith(cause)


def test_a_breach_is_written_once() -> None:
    once = look(Standing(), "96000")

    assert look(once, "95500") is once


def test_a_daily_loss_is_released_the_next_day_and_not_before() -> None:
    lost = look(Standing(), "96000")

    assert look(lost, "99000") is lost
    assert look(lost, "99000", day_start="99000", days=1).state is ACTIVE


def test_a_drawdown_waits_for_a_person() -> None:
    fallen = look(Standing(), "94000", day_start="94000")

    assert look(fallen, "99999", day_start="99999", days=30) is fallen


def test_a_drawdown_takes_the_place_of_a_daily_loss() -> None:
    lost = look(Standing(), "96000")
    fallen = look(lost, "94000")

    assert fallen.why.startswith("DRAWDOWN")
    assert look(fallen, "99000", day_start="99000", days=1) is fallen


@pytest.mark.parametrize("state", [REDUCING, HALTED])
def test_what_a_person_set_stays(state: RiskState) -> None:
    by_hand = Standing().changed(state, "ann", "maintenance", NOW)

    assert look(by_hand, "90000") is by_hand
    assert look(by_hand, "100000", days=5) is by_hand


def test_the_table_holds_no_step_to_itself_but_one() -> None:
    for state in (ACTIVE, HALTED):
        with pytest.raises(InvalidTransition, match="risk state"):
            Standing(state).changed(state, RISK, "again", NOW)


def test_a_change_counts_versions_and_keeps_who_and_why() -> None:
    changed = Standing().changed(HALTED, "ann", "fire drill", NOW)

    assert changed == Standing(HALTED, "ann", "fire drill", 1, NOW)
