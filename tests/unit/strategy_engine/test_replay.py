"""What a replay compares and puts back, and the promise that changed rules have another number."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from src.services.strategy_engine.domain.bar_versions import (
    BarChangeKind,
    BarVersion,
    bars_at,
    change_times,
    changes_since,
    closes_at,
)
from src.services.strategy_engine.domain.decision import (
    RULES,
    Context,
    DataBlock,
    Freeze,
    TradeInHand,
    TradeState,
    decide,
)
from src.services.strategy_engine.domain.evaluation import SlotTime, WatchedPair, evaluate_pairs
from src.services.strategy_engine.domain.instances import bars_digest
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.replay import Difference, PairDecision, differences, read_inputs
from src.services.strategy_engine.domain.spread import read_spreads
from src.services.strategy_engine.domain.trade_history import TradeHistory, TradeStep, step_times, unfinished_at
from src.shared.domain.bars import BarSeries, CloseSeries
from src.shared.domain.pairs import Direction, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SpreadReading
from tests.unit.strategy_engine.builders import SLOT, make_pair, make_reading, make_series, make_thresholds

T0 = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)

# Of every decision below, by the number of the rules that took it.
FINGERPRINTS = {1: "8f6e1b254e3118d4"}


def every_decision() -> list[str]:
    """Decide in thousands of situations around every threshold."""
    zs = [s * z for z in (0.0, 0.49, 0.5, 0.51, 1.99, 2.0, 2.01, 2.99, 3.0, 3.01, 50.0) for s in (1, -1)]
    readings: list[SpreadReading | Reason] = [
        *(make_reading(z) for z in zs),
        make_reading(float("nan")),
        Reason.MISSING_BARS,
    ]
    block = DataBlock("KO", "gap", "a hole", {})
    trades = [None] + [
        TradeInHand(direction, state, held)
        for direction in Direction
        for state in (PairTradeState.OPEN, PairTradeState.CLOSING)
        for held in (14, 15)
    ]
    states = [
        TradeState(trade, since, freeze, blocked)
        for trade in trades
        for since in (None, 4, 5)
        for freeze in Freeze
        for blocked in (None, block)
    ]
    contexts = [
        Context(make_pair(mode=mode), timedelta(minutes=age), timedelta(minutes=left))
        for mode in PairMode
        for age, left in ((0, 240), (15, 240), (16, 240), (0, 60), (0, 61))
    ]
    return [
        "/".join(decide(reading, state, make_thresholds(overnight=overnight), context))
        for reading, state, context, overnight in itertools.product(readings, states, contexts, (False, True))
    ]


def every_reading() -> list[str]:
    """Read spreads of ten pairs, with holes and prices that never move among them."""
    random = np.random.default_rng(1)
    closes = 50 * np.exp(np.cumsum(random.normal(0, 0.01, (40, 6)), axis=0))
    closes[[39, 35, 5], [3, 4, 5]] = np.nan
    series = make_series(("A", "B", "C", "D", "E", "F"), closes)
    pairs = [
        make_pair(first, second, alpha=0.1, beta=0.7, window=window)
        for first, second in itertools.combinations(series.symbols, 2)
        for window in (10, 30, 41)
    ]
    found = read_spreads(series, pairs, SLOT)
    return [
        each.value if isinstance(each, Reason) else f"{each.mean:.9f} {each.sd:.9f} {each.z:.7f}" for each in found
    ]


def test_rules_that_decide_otherwise_have_another_number() -> None:
    found = hashlib.sha256("\n".join([*every_decision(), *every_reading()]).encode()).hexdigest()[:16]

    assert FINGERPRINTS.get(RULES) == found, (
        f"the rules of decisions have changed: add one to RULES in domain/decision.py and {found!r} for it here, "
        "so that a replay can say of older decisions that other rules took them"
    )


@pytest.mark.parametrize(
    ("stored", "replayed", "rounding"),
    [
        (1.0, 1.0 + 1e-12, True),
        (-2.5, -2.5 * (1 + 5e-10), True),
        (0.0, 1e-13, True),
        (1.0, 1.0 + 1e-6, False),
        (1.0, True, False),
        ("1.0", 1.0, False),
        (None, 0.0, False),
    ],
)
def test_a_difference_below_a_billionth_is_rounding(stored: object, replayed: object, rounding: bool) -> None:
    assert Difference("z", stored, replayed).is_rounding is rounding  # type: ignore[arg-type]


def test_a_decision_that_is_older_than_some_of_its_numbers_is_compared_by_the_others() -> None:
    pair = make_pair("A", "B", window=10)
    walk = np.random.default_rng(3).normal(0, 0.01, (12, 2)).cumsum(axis=0)
    bars = make_series(("A", "B"), 50 * np.exp(walk))
    time = SlotTime(SLOT, SLOT + SECOND, SLOT + 4 * timedelta(hours=1))
    (again,) = evaluate_pairs([WatchedPair(pair)], bars, time, make_thresholds(), TradingCalendar())
    numbers = {name: value for name, value in again.numbers.items() if name not in NOT_KEPT_ONCE}
    signal = again.signal
    stored = PairDecision(
        pair.id, SLOT, signal.action.value, signal.reason, "active", None, numbers, signal.reading, SLOT
    )

    inputs = read_inputs(stored)

    assert set(again.numbers) >= NOT_KEPT_ONCE
    assert not isinstance(inputs, str)
    assert (inputs.pair(pair.id), inputs.time(SLOT), inputs.under.thresholds) == (pair, time, make_thresholds())
    assert differences(stored, again) == ()
    assert [str(each) for each in differences(replace(stored, numbers={**numbers, "overnight": 0}), again)] == [
        "overnight: 0 → False"
    ]


NOT_KEPT_ONCE = {"rules", "fitted_to", "instance", "instance_on"}


def series(*closes: float) -> CloseSeries:
    ends = tuple(T0 - timedelta(hours=len(closes) - 1 - i) for i in range(len(closes)))
    return CloseSeries(("KO",), ends, np.array(closes)[:, None])


def test_bars_are_put_back_as_the_table_held_them_at_a_moment() -> None:
    now = series(10.0, 21.0, 30.0, 40.0)
    first, second, third, fourth = now.ends
    versions = [
        BarVersion("KO", first, 10.0, T0),
        BarVersion("KO", second, 20.0, T0, T0 + 5 * SECOND, BarChangeKind.RESTATED),
        BarVersion("KO", second, 21.0, T0 + 5 * SECOND),
        BarVersion("KO", third, 30.0, T0 + 6 * SECOND),
        BarVersion("KO", fourth, 80.0, T0, T0 + 4 * SECOND, BarChangeKind.REBASED),
        BarVersion("KO", fourth, 40.0, T0 + 4 * SECOND),
    ]

    then = closes_at(now, versions, {"KO"}, T0 + 3 * SECOND)
    changes = changes_since(versions, ("KO",), now.ends, T0 + 3 * SECOND)

    np.testing.assert_array_equal(then.closes[:, 0], [10.0, 20.0, np.nan, 80.0])
    assert [(each.end, each.old, each.new, each.kind, each.at) for each in changes] == [
        (second, 20.0, 21.0, BarChangeKind.RESTATED, T0 + 5 * SECOND),
        (third, None, 30.0, BarChangeKind.ARRIVED, T0 + 6 * SECOND),
        (fourth, 80.0, 40.0, BarChangeKind.REBASED, T0 + 4 * SECOND),
    ]
    assert changes_since(versions, ("KO",), now.ends, T0 + 3 * SECOND, whole=True) == changes
    assert change_times(versions, T0, T0 + 5 * SECOND) == [T0 + 5 * SECOND, T0 + 4 * SECOND]


def test_a_trade_stands_where_it_stood_at_the_moment() -> None:
    steps = (
        TradeStep(T0, PairTradeState.OPENING),
        TradeStep(T0 + SECOND, PairTradeState.OPEN),
        TradeStep(T0 + 2 * SECOND, PairTradeState.CLOSING),
        TradeStep(T0 + 3 * SECOND, PairTradeState.CLOSED),
        TradeStep(T0 + 4 * SECOND, PairTradeState.ORPHANED),
    )
    history = TradeHistory(Direction.LONG_SPREAD, SLOT, T0, PairTradeState.ORPHANED, steps)

    found = [unfinished_at([history], T0 + n * SECOND) for n in (-1, 0, 1, 2, 3, 4)]

    states = [each.state.value if each else None for each in found]
    # After its end a late fill brings it back: the pair's own decisions have nothing to do with it.
    assert states == [None, "opening", "open", "closing", None, None]
    assert step_times([history], T0, T0 + 2 * SECOND) == [T0 + 2 * SECOND, T0 + SECOND]


def test_a_trade_without_steps_stands_where_its_row_says() -> None:
    history = TradeHistory(Direction.SHORT_SPREAD, SLOT, T0, PairTradeState.OPEN, ())

    assert unfinished_at([history], T0 - SECOND) is None
    found = unfinished_at([history], T0 + SECOND)
    assert found is not None
    assert (found.state, found.direction) == (PairTradeState.OPEN, Direction.SHORT_SPREAD)


def test_whole_bars_are_put_back_and_another_high_alone_is_a_change_of_them() -> None:
    ends = series(10.0, 20.0).ends
    now = BarSeries(("KO",), ends, *(np.array([[value], [2 * value]]) for value in (9.0, 12.0, 8.0, 10.0, 500.0)))
    versions = [
        BarVersion("KO", ends[0], 10.0, T0, others=(9.0, 12.0, 8.0, 500.0)),
        BarVersion("KO", ends[1], 20.0, T0, T0 + 5 * SECOND, BarChangeKind.RESTATED, (18.0, 23.0, 16.0, 900.0)),
        BarVersion("KO", ends[1], 20.0, T0 + 5 * SECOND, others=(18.0, 24.0, 16.0, 1000.0)),
    ]

    then = bars_at(now, versions, {"KO"}, T0 + 3 * SECOND)

    assert [values[1, 0] for values in then.values] == [18.0, 23.0, 16.0, 20.0, 900.0]
    assert [values[0, 0] for values in then.values] == [9.0, 12.0, 8.0, 10.0, 500.0]
    assert changes_since(versions, ("KO",), ends, T0 + 3 * SECOND) == []
    (change,) = changes_since(versions, ("KO",), ends, T0 + 3 * SECOND, whole=True)
    assert (change.what, change.old, change.new, change.kind) == ("high", 23.0, 24.0, BarChangeKind.RESTATED)


def test_what_was_seen_is_named_by_every_value_of_whole_bars_and_by_closes_as_ever() -> None:
    ends = series(10.0, 20.0).ends
    bars = BarSeries(("KO",), ends, *(np.array([[value], [2 * value]]) for value in (9.0, 12.0, 8.0, 10.0, 500.0)))
    other = replace(bars, volume=bars.volume + 1)

    assert bars_digest(bars.closes, ["KO"], 2) == bars_digest(other.closes, ["KO"], 2)
    assert bars_digest(bars.closes, ["KO"], 2, bars) != bars_digest(other.closes, ["KO"], 2, other)
    # Decisions that are stored already have this name of their closes.
    assert bars_digest(bars.closes, ["KO"], 2).startswith("bfefd6f0fd7ef004")
