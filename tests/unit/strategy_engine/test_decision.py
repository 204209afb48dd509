from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.services.strategy_engine.domain.decision import (
    DataBlock,
    Freeze,
    Thresholds,
    TradeInHand,
    TradeState,
    decide,
)
from src.services.strategy_engine.domain.reasons import Reason
from src.shared.domain.pairs import FINISHED_TRADES, Direction, PairMode, PairTradeState
from src.shared.domain.signals import SignalAction, SpreadReading
from tests.unit.strategy_engine.builders import (
    LONG,
    SHORT,
    holding,
    make_context,
    make_pair,
    make_reading,
    make_thresholds,
)

NOTHING_HELD = TradeState()

ENTRIES = [
    # z        action                      reason
    (0.0, SignalAction.STAY_OUT, Reason.BELOW_ENTRY),
    (1.99, SignalAction.STAY_OUT, Reason.BELOW_ENTRY),
    (2.0, SignalAction.STAY_OUT, Reason.BELOW_ENTRY),
    (-2.0, SignalAction.STAY_OUT, Reason.BELOW_ENTRY),
    (2.0000001, SignalAction.ENTER_SHORT, Reason.ENTRY_Z),
    (-2.0000001, SignalAction.ENTER_LONG, Reason.ENTRY_Z),
    (2.9999999, SignalAction.ENTER_SHORT, Reason.ENTRY_Z),
    (-2.9999999, SignalAction.ENTER_LONG, Reason.ENTRY_Z),
    (3.0, SignalAction.STAY_OUT, Reason.BEYOND_STOP),
    (-3.0, SignalAction.STAY_OUT, Reason.BEYOND_STOP),
    (7.5, SignalAction.STAY_OUT, Reason.BEYOND_STOP),
    (-7.5, SignalAction.STAY_OUT, Reason.BEYOND_STOP),
]

OPEN_TRADES = [
    # side   z     held  action                reason
    (LONG, -3.01, 3, SignalAction.STOP, Reason.STOP_Z),
    (LONG, -3.00, 3, SignalAction.HOLD, Reason.HOLDING),
    (LONG, 3.01, 3, SignalAction.EXIT, Reason.SIGN_FLIPPED),
    (SHORT, 3.01, 3, SignalAction.STOP, Reason.STOP_Z),
    (SHORT, 3.00, 3, SignalAction.HOLD, Reason.HOLDING),
    (SHORT, -3.01, 3, SignalAction.EXIT, Reason.SIGN_FLIPPED),
    # The stop comes before the time stop, the time stop before the exit.
    (LONG, -3.01, 15, SignalAction.STOP, Reason.STOP_Z),
    (LONG, -0.10, 15, SignalAction.EXPIRE, Reason.TIME_STOP),
    (LONG, -1.50, 15, SignalAction.EXPIRE, Reason.TIME_STOP),
    (LONG, -1.50, 14, SignalAction.HOLD, Reason.HOLDING),
    (SHORT, 1.50, 99, SignalAction.EXPIRE, Reason.TIME_STOP),
    (LONG, -0.50, 3, SignalAction.HOLD, Reason.HOLDING),
    (LONG, -0.49, 3, SignalAction.EXIT, Reason.EXIT_Z),
    (LONG, 0.00, 3, SignalAction.EXIT, Reason.EXIT_Z),
    (LONG, 0.49, 3, SignalAction.EXIT, Reason.EXIT_Z),
    (LONG, 0.50, 3, SignalAction.EXIT, Reason.SIGN_FLIPPED),
    (SHORT, 0.50, 3, SignalAction.HOLD, Reason.HOLDING),
    (SHORT, 0.49, 3, SignalAction.EXIT, Reason.EXIT_Z),
    (SHORT, -0.50, 3, SignalAction.EXIT, Reason.SIGN_FLIPPED),
    (SHORT, 2.50, 3, SignalAction.HOLD, Reason.HOLDING),
]


@pytest.mark.parametrize(("z", "action", "reason"), ENTRIES)
def test_entry_by_z(z: float, action: SignalAction, reason: Reason) -> None:
    assert decide(make_reading(z), NOTHING_HELD, make_thresholds(), make_context()) == (action, reason)


@pytest.mark.parametrize(("side", "z", "held", "action", "reason"), OPEN_TRADES)
def test_open_trade(side: Direction, z: float, held: int, action: SignalAction, reason: Reason) -> None:
    decision = decide(make_reading(z), holding(side, held), make_thresholds(), make_context())

    assert decision == (action, reason)


@pytest.mark.parametrize("problem", [Reason.MISSING_BARS, Reason.STALE_BAR, Reason.FLAT_SPREAD])
@pytest.mark.parametrize("state", [NOTHING_HELD, holding(LONG, 99)])
def test_without_a_reading_nothing_is_decided_even_about_an_open_trade(problem: Reason, state: TradeState) -> None:
    assert decide(problem, state, make_thresholds(), make_context()) == (SignalAction.NO_DECISION, problem)


BLOCK = DataBlock("KO", "hole", "a hole", {})


@pytest.mark.parametrize("reading", [make_reading(-2.5), make_reading(0.0), Reason.MISSING_BARS])
def test_on_bars_with_a_fault_no_trade_is_decided(reading: SpreadReading | Reason) -> None:
    decision = decide(reading, TradeState(block=BLOCK), make_thresholds(), make_context())

    assert decision == (SignalAction.NO_DECISION, Reason.DATA_BLOCKED)


@pytest.mark.parametrize(("side", "z", "held", "action", "reason"), OPEN_TRADES)
def test_an_open_trade_is_managed_whatever_is_said_of_its_bars(
    side: Direction, z: float, held: int, action: SignalAction, reason: Reason
) -> None:
    state = replace(holding(side, held), block=BLOCK)

    assert decide(make_reading(z), state, make_thresholds(), make_context()) == (action, reason)


def test_a_freeze_is_told_before_a_fault_of_the_bars() -> None:
    state = TradeState(freeze=Freeze.NO_ENTRY, block=BLOCK)

    assert decide(make_reading(-2.5), state, make_thresholds(), make_context())[1] is Reason.FROZEN


@pytest.mark.parametrize("z", [float("nan"), float("inf"), float("-inf")])
def test_a_z_that_is_no_number_decides_nothing(z: float) -> None:
    decision = decide(make_reading(z), holding(LONG), make_thresholds(), make_context())

    assert decision == (SignalAction.NO_DECISION, Reason.NOT_FINITE)


@pytest.mark.parametrize(
    ("mode", "action", "reason"),
    [
        (PairMode.ACTIVE, SignalAction.ENTER_LONG, Reason.ENTRY_Z),
        (PairMode.OBSERVE, SignalAction.ENTER_LONG, Reason.OBSERVED_ENTRY_Z),
        (PairMode.CANDIDATE, SignalAction.STAY_OUT, Reason.NOT_ACTIVE),
        (PairMode.CLOSING, SignalAction.STAY_OUT, Reason.NOT_ACTIVE),
        (PairMode.RETIRED, SignalAction.STAY_OUT, Reason.NOT_ACTIVE),
    ],
)
def test_only_active_pairs_enter_and_observed_ones_say_so(
    mode: PairMode, action: SignalAction, reason: Reason
) -> None:
    context = make_context(make_pair(mode=mode))

    assert decide(make_reading(-2.5), NOTHING_HELD, make_thresholds(), context) == (action, reason)


@pytest.mark.parametrize(
    ("bars_since_stop", "reason"),
    [(None, Reason.ENTRY_Z), (0, Reason.COOL_DOWN), (5, Reason.COOL_DOWN), (6, Reason.ENTRY_Z)],
)
def test_a_stop_is_followed_by_one_half_life_of_rest(bars_since_stop: int | None, reason: Reason) -> None:
    context = make_context(make_pair(half_life=5.5))

    decision = decide(make_reading(-2.5), TradeState(None, bars_since_stop), make_thresholds(), context)

    assert decision[1] is reason


@pytest.mark.parametrize(("bars", "reason"), [(4, Reason.COOL_DOWN), (5, Reason.ENTRY_Z)])
def test_the_rest_is_over_at_exactly_one_half_life(bars: int, reason: Reason) -> None:
    assert decide(make_reading(2.5), TradeState(None, bars), make_thresholds(), make_context())[1] is reason


@pytest.mark.parametrize(
    ("age_seconds", "reason"), [(0.0, Reason.ENTRY_Z), (900.0, Reason.ENTRY_Z), (900.001, Reason.LATE_SLOT)]
)
def test_a_late_cycle_takes_no_entry(age_seconds: float, reason: Reason) -> None:
    context = make_context(age_seconds=age_seconds)

    assert decide(make_reading(2.5), NOTHING_HELD, make_thresholds(), context)[1] is reason


@pytest.mark.parametrize(
    ("minutes", "overnight", "reason"),
    [
        (60.01, False, Reason.ENTRY_Z),
        (60.0, False, Reason.LAST_HOUR),
        (29.0, False, Reason.LAST_HOUR),
        (0.0, False, Reason.LAST_HOUR),
        (-5.0, False, Reason.LAST_HOUR),
        (29.0, True, Reason.ENTRY_Z),
    ],
)
def test_the_last_hour_takes_no_entry_unless_overnight(minutes: float, overnight: bool, reason: Reason) -> None:
    context = make_context(minutes_to_close=minutes)

    assert decide(make_reading(2.5), NOTHING_HELD, make_thresholds(overnight=overnight), context)[1] is reason


@pytest.mark.parametrize("state", sorted(set(PairTradeState) - FINISHED_TRADES - {PairTradeState.OPEN}))
def test_a_trade_in_motion_is_left_to_execution_and_blocks_a_second(state: PairTradeState) -> None:
    decision = decide(make_reading(-9.0), holding(LONG, 99, state), make_thresholds(), make_context())

    assert decision == (SignalAction.HOLD, Reason.IN_MOTION)


finite_z = st.floats(-10, 10)
modes = st.sampled_from(PairMode)
sides = st.sampled_from(Direction)


@st.composite
def thresholds(draw: st.DrawFn) -> Thresholds:
    exit_z, entry_z, stop_z = sorted(draw(st.lists(st.floats(0.01, 5), min_size=3, max_size=3, unique=True)))
    return Thresholds(entry_z, exit_z, stop_z, timedelta(seconds=900), draw(st.booleans()))


@given(
    z=finite_z,
    limits=thresholds(),
    mode=modes,
    rest=st.none() | st.integers(0, 20),
    age=st.floats(0, 3600),
    minutes=st.floats(-10, 400),
)
def test_no_entry_is_beyond_the_stop_or_below_the_entry_or_against_a_rule(
    *, z: float, limits: Thresholds, mode: PairMode, rest: int | None, age: float, minutes: float
) -> None:
    context = make_context(make_pair(mode=mode), age_seconds=age, minutes_to_close=minutes)

    action, _ = decide(make_reading(z), TradeState(None, rest), limits, context)

    if action.is_entry:
        assert limits.entry_z < abs(z) < limits.stop_z
        assert action.direction.sign * z < 0
        assert mode in (PairMode.ACTIVE, PairMode.OBSERVE)
        assert rest is None or rest >= 5
        assert context.slot_age <= limits.max_slot_age
        assert limits.overnight or minutes > 60
    assert not action.is_exit


@given(z=finite_z, side=sides, limits=thresholds(), held=st.integers(0, 30), mode=modes, age=st.floats(0, 1e6))
def test_what_closes_a_trade_depends_neither_on_mode_nor_on_the_hour(
    *, z: float, side: Direction, limits: Thresholds, held: int, mode: PairMode, age: float
) -> None:
    state = holding(side, held)
    calm = decide(make_reading(z), state, limits, make_context())
    late = make_context(make_pair(mode=mode), age_seconds=age, minutes_to_close=1)

    decision = decide(make_reading(z), state, limits, late)

    assert decision == calm
    assert not decision[0].is_entry


@given(z=finite_z, limits=thresholds(), held=st.integers(0, 30))
def test_long_and_short_mirror_each_other(z: float, limits: Thresholds, held: int) -> None:
    long = TradeState(TradeInHand(LONG, PairTradeState.OPEN, held))
    short = TradeState(TradeInHand(SHORT, PairTradeState.OPEN, held))

    assert decide(make_reading(z), long, limits, make_context()) == decide(
        make_reading(-z), short, limits, make_context()
    )


@pytest.mark.parametrize("freeze", [Freeze.NO_ENTRY, Freeze.BASIS_LOST])
def test_a_frozen_pair_takes_no_entry(freeze: Freeze) -> None:
    decision = decide(make_reading(2.5), TradeState(freeze=freeze), make_thresholds(), make_context())

    assert decision == (SignalAction.NO_DECISION, Reason.FROZEN)


@pytest.mark.parametrize(
    ("freeze", "decision"),
    [
        (Freeze.NO_ENTRY, (SignalAction.EXIT, Reason.EXIT_Z)),
        (Freeze.BASIS_LOST, (SignalAction.NO_DECISION, Reason.FROZEN)),
    ],
)
def test_a_trade_of_a_frozen_pair_is_closed_by_z_only_while_z_says_something(
    freeze: Freeze, decision: tuple[SignalAction, Reason]
) -> None:
    state = replace(holding(LONG), freeze=freeze)

    assert decide(make_reading(0.1), state, make_thresholds(), make_context()) == decision
