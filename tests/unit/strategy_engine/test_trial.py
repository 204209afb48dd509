from __future__ import annotations

import math
from dataclasses import astuple, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.services.strategy_engine.domain.decision import Thresholds
from src.services.strategy_engine.domain.evaluation import SlotTime, UnfinishedTrade, WatchedPair, evaluate_pairs
from src.services.strategy_engine.domain.fit import fit_pair
from src.services.strategy_engine.domain.gate import pair_of
from src.services.strategy_engine.domain.reasons import Reason
from src.services.strategy_engine.domain.spread import read_history, read_spreads
from src.services.strategy_engine.domain.trial import Costs, Trial, TrialTrade, run_trial
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.pairs import Direction, Pair, PairMode, PairTradeState
from src.shared.domain.sessions import TradingCalendar
from src.shared.domain.signals import SpreadReading
from tests.unit.strategy_engine.builders import make_pair, make_thresholds
from tests.unit.strategy_engine.test_fit import reverting

CALENDAR = TradingCalendar()
UNTIL = datetime(2026, 3, 10, 20, 0, tzinfo=UTC)
COSTS = Costs()
FREE = Costs(commission_bps=0.0, half_spread_bps=0.0, borrow_per_year=0.0)
BARS, FIRST = 400, 267


def slots(count: int) -> list[datetime]:
    return [end for _, end in CALENDAR.last_spans(UNTIL, count)]


def fitted(closes_1: Floats, closes_2: Floats, first: int = FIRST) -> Pair:
    return pair_of("KO", "PEP", fit_pair(closes_1[:first], closes_2[:first]))


def tried(
    closes_1: Floats,
    closes_2: Floats,
    pair: Pair | None = None,
    *,
    first: int = FIRST,
    ends: list[datetime] | None = None,
    thresholds: Thresholds | None = None,
    costs: Costs = COSTS,
) -> Trial:
    return run_trial(
        closes_1,
        closes_2,
        ends or slots(len(closes_1)),
        pair or fitted(closes_1, closes_2, first),
        thresholds or make_thresholds(),
        CALENDAR,
        costs,
        first=first,
    )


def with_holes(closes: Floats, seed: int, share: float) -> Floats:
    there = np.random.default_rng(seed).random(len(closes)) >= share
    return np.where(there, closes, np.nan)


@pytest.mark.parametrize("seed", range(4))
def test_a_history_reads_as_every_slot_of_it_does(seed: int) -> None:
    closes_1, closes_2 = (with_holes(column, seed + i, 0.02) for i, column in enumerate(reverting(seed, bars=120)))
    pair, ends = make_pair(beta=0.8, window=12), slots(120)

    history = read_history(closes_1, closes_2, pair, first=20)

    for row, reading in zip(range(20, 120), history, strict=True):
        until = slice(0, row + 1)
        series = CloseSeries(("KO", "PEP"), tuple(ends[until]), np.column_stack([closes_1[until], closes_2[until]]))
        [said] = read_spreads(series, [pair], ends[row])
        if isinstance(said, Reason):
            assert reading is said
        else:
            # Sums over one column and over many may differ in the last digit.
            assert isinstance(reading, SpreadReading)
            assert astuple(reading) == pytest.approx(astuple(said), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_a_trial_decides_what_the_slots_themselves_would(seed: int) -> None:
    closes_1, closes_2 = (with_holes(column, seed + i, 0.004) for i, column in enumerate(reverting(seed)))
    pair, thresholds = fitted(closes_1, closes_2), make_thresholds()
    trial = tried(closes_1, closes_2, pair)

    ends = slots(BARS)
    filled = {trade.entry_slot: trade for trade in trial.trades}
    traded = replace(pair, mode=PairMode.ACTIVE)
    open_trade: TrialTrade | None = None
    stop: datetime | None = None
    for decision in trial.decisions:
        row = ends.index(decision.slot)
        session = CALENDAR.session_at(decision.slot - timedelta(seconds=1))
        assert session is not None
        window = CloseSeries(
            ("KO", "PEP"), tuple(ends[: row + 1]), np.column_stack([closes_1[: row + 1], closes_2[: row + 1]])
        )
        held = None
        if open_trade is not None:
            priced = ~np.isnan(closes_1 + closes_2)
            fill = next(i for i in range(ends.index(open_trade.entry_slot) + 1, BARS) if priced[i])
            held = UnfinishedTrade(
                open_trade.direction,
                PairTradeState.OPENING if row < fill
                else PairTradeState.OPEN if decision.slot <= open_trade.exit_slot
                else PairTradeState.CLOSING,
                open_trade.entry_slot,
            )  # fmt: skip
            if decision.slot > open_trade.exit_slot:
                close = next(i for i in range(ends.index(open_trade.exit_slot) + 1, BARS) if priced[i])
                held = held if row < close else None
                open_trade = open_trade if row < close else None
        [said] = evaluate_pairs(
            [WatchedPair(traded, held, stop)],
            window,
            SlotTime(decision.slot, decision.slot, session.close),
            thresholds,
            CALENDAR,
        )
        assert (decision.action, decision.reason) == (said.signal.action, said.signal.reason), decision.slot
        if decision.action.is_entry:
            open_trade = filled.get(decision.slot)
        if decision.reason is Reason.STOP_Z:
            stop = decision.slot


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), known=st.integers(FIRST, BARS - 2), noise=st.floats(-0.2, 0.2))
def test_what_comes_later_changes_no_decision_and_no_result_before(seed: int, known: int, noise: float) -> None:
    closes_1, closes_2 = reverting(seed)
    pair, ends = fitted(closes_1, closes_2), slots(BARS)
    other = closes_1.copy()
    other[known + 1 :] *= np.exp(noise * np.linspace(1, 2, BARS - known - 1))

    one, two = tried(closes_1, closes_2, pair), tried(other, closes_2, pair)

    assert [d for d in one.decisions if d.slot <= ends[known]] == [d for d in two.decisions if d.slot <= ends[known]]
    # A trade is over at the close of the bar after its last decision.
    over = [[t for t in each.trades if t.exit_slot < ends[known] and t.exit_reason] for each in (one, two)]
    assert over[0] == over[1]


def hand_made() -> tuple[Floats, Floats, Pair]:
    """Six calm bars, then the first leg falls and comes back: one long spread, by hand."""
    swing = [100.0, 100.1, 99.9, 100.1, 99.9, 100.0, 99.0, 99.2, 99.6, 100.0, 100.2]
    return np.array(swing), np.full(len(swing), 50.0), make_pair(beta=1.0, window=6, half_life=5.0, time_stop=15)


def test_a_trade_is_filled_one_bar_late_on_both_sides_and_costs_are_taken_off() -> None:
    closes_1, closes_2, pair = hand_made()
    # The seventh bar and those after it are hours of one session, none of them the last.
    ends = [end for _, end in CALENDAR.last_spans(datetime(2026, 3, 10, 19, 30, tzinfo=UTC), 11)]
    costs = Costs(commission_bps=1.0, half_spread_bps=4.0, borrow_per_year=0.10)
    thresholds = replace(make_thresholds(overnight=True), entry_z=1.9)

    trial = tried(closes_1, closes_2, pair, first=6, ends=ends, thresholds=thresholds, costs=costs)

    [trade] = trial.trades
    assert trade.direction is Direction.LONG_SPREAD
    assert (trade.entry_slot, trade.entry_prices) == (ends[6], (99.2, 50.0))
    left = ends.index(trade.exit_slot)
    assert trade.exit_prices == (closes_1[left + 1], 50.0)
    assert trade.exit_reason in (Reason.EXIT_Z, Reason.SIGN_FLIPPED)
    made = 0.5 * (closes_1[left + 1] / 99.2 - 1)
    days = (ends[left + 1] - ends[7]) / timedelta(days=1)
    at_exit = 0.5 * closes_1[left + 1] / 99.2 + 0.5
    assert trade.gross_return == pytest.approx(made)
    assert trade.costs == pytest.approx(5e-4 * (1 + at_exit) + 0.10 * 0.5 * days / 365)
    assert trial.net_return == pytest.approx(trade.gross_return - trade.costs) == trade.net_return
    assert (trial.win_rate, trial.round_trips, trial.open_at_end) == (1.0, 1, False)


def test_what_is_open_at_the_end_is_closed_at_the_last_prices_and_is_no_round_trip() -> None:
    closes_1, closes_2, pair = hand_made()
    ends = [end for _, end in CALENDAR.last_spans(datetime(2026, 3, 10, 19, 30, tzinfo=UTC), 11)][:9]
    thresholds = replace(make_thresholds(overnight=True), entry_z=1.9)

    trial = tried(closes_1[:9], closes_2[:9], pair, first=6, ends=ends, thresholds=thresholds, costs=FREE)

    [trade] = trial.trades
    assert (trade.exit_reason, trade.exit_slot, trade.exit_prices) == (None, ends[8], (99.6, 50.0))
    assert (trial.round_trips, trial.open_at_end, trial.win_rate) == (0, True, 1.0)
    assert trial.net_return == pytest.approx(0.5 * (99.6 / 99.2 - 1))


def test_an_entry_that_is_never_filled_is_no_trade() -> None:
    closes_1, closes_2, pair = hand_made()
    ends = [end for _, end in CALENDAR.last_spans(datetime(2026, 3, 10, 19, 30, tzinfo=UTC), 11)][:7]
    thresholds = replace(make_thresholds(overnight=True), entry_z=1.9)

    trial = tried(closes_1[:7], closes_2[:7], pair, first=6, ends=ends, thresholds=thresholds)

    assert [decision.reason for decision in trial.decisions] == [Reason.ENTRY_Z]
    assert (trial.trades, trial.sharpe, trial.win_rate, trial.net_return) == ((), 0.0, 0.0, 0.0)


def jumping(seed: int) -> tuple[Floats, Floats]:
    """Closes of a pair whose spread is torn away now and then."""
    closes_1, closes_2 = reverting(seed)
    torn = np.random.default_rng(seed).choice([0.0, 0.02], BARS, p=[0.98, 0.02]).cumsum()
    return closes_1 * np.exp(torn), closes_2


def test_every_rule_of_a_slot_is_met_in_trials() -> None:
    said = {decision.reason for seed in range(30) for decision in tried(*jumping(seed)).decisions}

    assert said >= {
        Reason.ENTRY_Z, Reason.HOLDING, Reason.EXIT_Z, Reason.SIGN_FLIPPED, Reason.STOP_Z, Reason.TIME_STOP,
        Reason.COOL_DOWN, Reason.LAST_HOUR, Reason.BELOW_ENTRY, Reason.BEYOND_STOP,
    }  # fmt: skip


def test_nothing_is_decided_when_the_session_is_over() -> None:
    closes = {session.close for session in CALENDAR.sessions(slots(BARS)[0].date(), UNTIL.date())}

    decided = {decision.slot for decision in tried(*reverting(1)).decisions}

    assert decided == set(slots(BARS)[FIRST:]) - closes


@given(seed=st.integers(0, 10_000), bps=st.floats(0, 50), borrow=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_costs_take_away_and_change_no_decision(seed: int, bps: float, borrow: float) -> None:
    closes_1, closes_2 = reverting(seed)

    free = tried(closes_1, closes_2, costs=FREE)
    dear = tried(closes_1, closes_2, costs=Costs(bps, bps, borrow))

    assert dear.decisions == free.decisions
    assert dear.net_return <= free.net_return
    assert dear.win_rate <= free.win_rate
    assert dear.net_return == pytest.approx(sum(trade.net_return for trade in dear.trades))


@pytest.mark.parametrize("seed", range(5))
def test_sharpe_and_drawdown_are_those_of_the_daily_and_hourly_results(seed: int) -> None:
    closes_1, closes_2 = reverting(seed)
    pair, ends = fitted(closes_1, closes_2), slots(BARS)
    trial = tried(closes_1, closes_2, pair, costs=FREE)

    worth = [1.0]
    days: dict[date, float] = {}
    for row in range(FIRST, BARS):
        made = 0.0
        for trade in trial.trades:
            entered = ends.index(trade.entry_slot) + 1
            left = ends.index(trade.exit_slot) + (1 if trade.exit_reason else 0)
            if entered < row <= left:
                legs = (closes_1[row] - closes_1[row - 1]) / trade.entry_prices[0] - pair.beta * (
                    closes_2[row] - closes_2[row - 1]
                ) / trade.entry_prices[1]
                made += trade.direction.sign * legs / (1 + pair.beta)
        worth.append(worth[-1] + made)
        days[ends[row].date()] = days.get(ends[row].date(), 0.0) + made
    daily = np.array(list(days.values()))

    assert trial.sessions == len(days)
    assert trial.sharpe == pytest.approx(daily.mean() / daily.std(ddof=1) * math.sqrt(252))
    peaks = np.maximum.accumulate(worth)
    assert trial.max_drawdown == pytest.approx(float(((peaks - worth) / peaks).max()))
    assert trial.net_return == pytest.approx(worth[-1] - 1)


def test_a_trial_without_unseen_bars_or_off_the_calendar_is_refused() -> None:
    closes_1, closes_2 = reverting(1, bars=40)

    with pytest.raises(ValueError, match="no unseen part"):
        tried(closes_1, closes_2, make_pair(), first=40)
    with pytest.raises(ValueError, match="not the end of an hourly bar"):
        ends = [end + timedelta(minutes=1) for end in slots(40)]
        tried(closes_1, closes_2, make_pair(), first=30, ends=ends)
